"""Anomalies in single series (`kpi_aiops`, `ms_cloud_monitoring`): VUS-PR of each, and their mean, beside baselines.

`kpi_aiops` says itself what is training and what is test data. Of `ms_cloud_monitoring` the first 15 % of a series are
history that is not scored. No label is learned from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.detection.univariate import UnivariateDetector, held
from forewarn.evaluation.datasets import univariate_baselines as baselines
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options
from forewarn.evaluation.datasets.vus_pr import period_of, vus_pr

METRIC = "VUS-PR, mean over series"
GOALS = {"kpi_aiops": 0.45}
HISTORY = 0.15  # of a series without a split
FEWEST = 20  # samples of history

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSeries:
    """One series in order of time; samples before `learned` are history, those from it on are scored."""

    name: str
    times: Floats  # seconds
    values: Floats
    labels: NDArray[np.int64]
    learned: int


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """The mean VUS-PR over all series that hold an anomaly after their history. Raises DatasetError."""
    read = read_kpi if name == "kpi_aiops" else read_cloud
    rows, left_out = [], []
    for series in read(data):
        if not series.labels[series.learned :].any():
            left_out.append(series.name)
            continue
        rows.append(_row(series, options.seed))
        options.say(f"{series.name}: {rows[-1]['value']:.3f}")
    if not rows:
        raise DatasetError(f"no series in {data} holds an anomaly after its history: there is nothing to measure")
    notes = [
        "No labels are learned; a score uses samples up to its own time alone.",
        "'held' baselines fade at the rate at which the detector's scores do: what is gained by covering a range.",
    ]
    if left_out:
        notes.append(f"Left out, without an anomaly after their history: {', '.join(left_out)}.")
    beside = {key: float(np.mean([row["baselines"][key] for row in rows])) for key in rows[0]["baselines"]}
    value = float(np.mean([row["value"] for row in rows]))
    return [DatasetReport(METRIC, value, beside, rows, goal=GOALS.get(name), notes=notes)]


def _row(series: LabelledSeries, seed: int) -> dict[str, Any]:
    """One part of the report; the tolerance is TSB-AD's choice for the whole series."""
    window = period_of(series.values)
    labels = series.labels[series.learned :]

    def measure(scores: Floats) -> float:
        return vus_pr(labels, np.nan_to_num(scores[series.learned :], nan=0.0), window)

    detector = UnivariateDetector()
    value = measure(detector.score(series.times, series.values, series.learned))
    beside = {name: measure(scores) for name, scores in _baselines(series, seed, detector.fading).items()}
    return {
        "part": series.name,
        "value": value,
        "baselines": beside,
        "samples": len(labels),
        "anomalous": float(labels.mean()),
        "window": window,
    }


def _baselines(series: LabelledSeries, seed: int, fading: float) -> dict[str, Floats]:
    """Scores of simple methods by name."""
    known = series.values[: series.learned]
    static = baselines.static_threshold(series.values, series.learned)
    return {
        "static threshold": static,
        "static, held": held(static, fading),
        "seasonal naive": baselines.seasonal_naive(series.times, series.values),
        "predict_linear": baselines.linear_prediction(series.values),
        "Isolation Forest": baselines.isolation_forest(series.values, len(known), seed),
        "random": np.random.default_rng(seed).random(len(series.values)),
    }


def read_kpi(data: Path) -> Iterator[LabelledSeries]:
    """Parquet files with timestamp (seconds), value, label, split. Raises DatasetError."""
    for path in _files(data, "*.parquet"):
        frame = _columns(path, pd.read_parquet(path), ("timestamp", "value", "label", "split")).sort_values("timestamp")
        train = (frame["split"] == "train").to_numpy()
        learned = int(train.sum())
        if not train[:learned].all() or not FEWEST <= learned < len(frame):
            raise DatasetError(f"{path}: 'train' must come before 'test', with at least {FEWEST} rows")
        yield _series(path.stem, frame["timestamp"], frame["value"], frame["label"], learned)


def read_cloud(data: Path) -> Iterator[LabelledSeries]:
    """CSV files (.csv or .csv.gz, in any folder) with TimeStamp, Value, Label. Raises DatasetError."""
    for path in _files(data, "*.csv*"):
        frame = _columns(path, pd.read_csv(path), ("TimeStamp", "Value", "Label"))
        frame["TimeStamp"] = _seconds(path, frame["TimeStamp"])
        frame = frame.sort_values("TimeStamp", kind="stable")
        name = str(path.relative_to(data)).removesuffix(".gz").removesuffix(".csv")
        learned = max(FEWEST, int(HISTORY * len(frame)))
        yield _series(name, frame["TimeStamp"], frame["Value"], frame["Label"], learned)


def _files(data: Path, pattern: str) -> list[Path]:
    found = sorted(data.rglob(pattern))
    if not found:
        raise DatasetError(f"{data} holds no {pattern} files: name the folder of the data set")
    return found


def _columns(path: Path, frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return frame


def _seconds(path: Path, stamps: "pd.Series[Any]") -> "pd.Series[Any]":
    try:
        return pd.to_datetime(stamps, utc=True).astype("datetime64[ns, UTC]").astype("int64") / 1e9
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: a time cannot be read: {error}") from error


def _series(
    name: str, times: "pd.Series[Any]", values: "pd.Series[Any]", labels: "pd.Series[Any]", learned: int
) -> LabelledSeries:
    return LabelledSeries(
        name,
        times.to_numpy(dtype=np.float64),
        values.to_numpy(dtype=np.float64),
        (labels.to_numpy() > 0).astype(np.int64),
        learned,
    )

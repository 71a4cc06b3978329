"""Series for the evaluation of forecasts, read from data sets and put into even cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError

Floats = NDArray[np.float64]
_TIMES = ("currentTime", "timestamp", "time", "datetime", "date", "ds")
_MINUTES = ("minute", "minutes")
_JUMPSTARTER_ROW_SECONDS = 300
_SERIES = 30  # about so many of all services and metrics: AutoARIMA takes seconds for each


@dataclass(frozen=True, slots=True, eq=False)
class SignalSeries:
    """values [T] in cells of step_seconds, NaN where nothing was measured; `signal` names what is measured."""

    name: str
    signal: str
    values: Floats
    step_seconds: float


def read_jumpstarter(folder: Path, step_seconds: float) -> list[SignalSeries]:
    """Of thirty services one metric each, the next one from service to service, so that all metrics take part.

    `NAME.parquet` in any depth of folders, rows of 5 minutes.
    """
    paths = sorted(folder.rglob("*.parquet"))
    if not paths:
        raise DatasetError(f"{folder} holds no NAME.parquet: the folders Dataset2 and Dataset3 are expected")
    series = []
    rows = round(step_seconds / _JUMPSTARTER_ROW_SECONDS)
    for service, path in enumerate(paths):
        table = pd.read_parquet(path).drop(columns=["label", "split"], errors="ignore").select_dtypes("number")
        stride = max(1, min(len(paths) * table.shape[1] // _SERIES, table.shape[1]))
        for metric, column in enumerate(table.columns):
            if (service + metric) % stride == 0:
                name = str(path.relative_to(folder).with_suffix(""))
                cells = averaged(table[column].to_numpy(np.float64), rows)
                series.append(SignalSeries(f"{name} {column}", str(column), cells, step_seconds))
    return series


def read_tables(folder: Path, step_seconds: float) -> list[SignalSeries]:
    """Every numeric column of every `*.csv` or `*.csv.gz` that has a column of times or of minutes."""
    paths = sorted([*folder.rglob("*.csv"), *folder.rglob("*.csv.gz")])
    if not paths:
        raise DatasetError(f"{folder} holds no *.csv or *.csv.gz")
    return [series for path in paths for series in _columns(path, step_seconds)]


def _columns(path: Path, step_seconds: float) -> Iterator[SignalSeries]:
    table = pd.read_csv(path)
    seconds = _seconds(path, table)
    table = table.drop(columns=[*_TIMES, *_MINUTES], errors="ignore").select_dtypes("number")
    cell = (seconds // step_seconds).astype(np.int64)
    grouped = table.groupby(cell - cell.min()).mean()
    even = grouped.reindex(range(int(grouped.index.max()) + 1))
    for column in even.columns:
        name = path.name.removesuffix(".gz").removesuffix(".csv")
        yield SignalSeries(f"{name} {column}", str(column), even[column].to_numpy(np.float64), step_seconds)


def _seconds(path: Path, table: pd.DataFrame) -> Floats:
    """[rows] time of each row."""
    for column in table.columns:
        if column in _MINUTES:
            return np.asarray(table[column].to_numpy(np.float64) * 60.0)
        if column in _TIMES:
            times = pd.to_datetime(table[column], utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
            return np.asarray(times.astype("int64").to_numpy() / 1e9)
    raise DatasetError(f"{path} has no column of times: one of {', '.join((*_TIMES, *_MINUTES))} is expected")


def averaged(values: Floats, rows: int) -> Floats:
    """[n // rows] means; rows at the end that fill no cell are left out."""
    whole = len(values) // rows * rows
    blocks = values[:whole].reshape(-1, rows)
    known = np.isfinite(blocks)
    total = np.where(known, blocks, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)

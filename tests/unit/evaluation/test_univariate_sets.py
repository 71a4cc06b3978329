"""VUS-PR of single series: files as the data sets have them, what is scored, and what is left out."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.evaluation.datasets.report import DatasetError, Options
from forewarn.evaluation.datasets.univariate import evaluate, read_cloud, read_kpi
from forewarn.evaluation.datasets.univariate_baselines import linear_prediction, seasonal_naive, static_threshold


def wave(n: int, per_day: int, seed: int) -> np.ndarray:
    return 10 + 3 * np.sin(np.arange(n) * 2 * np.pi / per_day) + 0.3 * np.random.default_rng(seed).normal(size=n)


def kpi_frame(seed: int = 0) -> pd.DataFrame:
    """Ten days at 5 min; the second half is test data with two anomalies."""
    values, label = wave(2880, 288, seed), np.zeros(2880, dtype=np.int8)
    for start in (1800, 2400):
        values[start : start + 20] += 4
        label[start : start + 20] = 1
    split = np.where(np.arange(2880) < 1440, "train", "test")
    stamps = 1_500_000_000 + 300 * np.arange(2880)
    return pd.DataFrame({"value": values.astype(np.float32), "label": label, "timestamp": stamps, "split": split})


def test_kpi_files_are_scored_on_their_test_part(tmp_path: Path) -> None:
    kpi_frame(0).to_parquet(tmp_path / "a.parquet")
    kpi_frame(1).sample(frac=1, random_state=0).to_parquet(tmp_path / "b.parquet")  # rows in any order
    (report,) = evaluate("kpi_aiops", tmp_path, Options())
    assert [part["part"] for part in report.parts] == ["a", "b"]
    assert all(part["samples"] == 1440 for part in report.parts)
    assert report.value == pytest.approx(np.mean([part["value"] for part in report.parts]))
    assert report.value > 0.6 > report.baselines["random"]
    assert report.goal == 0.45


def test_labels_are_not_learned(tmp_path: Path) -> None:
    frame = kpi_frame()
    frame.to_parquet(tmp_path / "a.parquet")
    (before,) = evaluate("kpi_aiops", tmp_path, Options())
    frame.loc[frame.split == "train", "label"] = 1
    frame.to_parquet(tmp_path / "a.parquet")
    (after,) = evaluate("kpi_aiops", tmp_path, Options())
    assert after.value == before.value


def test_cloud_files_need_an_anomaly_after_their_history(tmp_path: Path) -> None:
    stamps = pd.date_range("2018-07-03", periods=720, freq="h")
    for name, place in (("late", 500), ("early", 30), ("none", None)):
        values, label = wave(720, 24, 2), np.zeros(720, dtype=int)
        if place is not None:
            values[place : place + 5] += 6
            label[place : place + 5] = 1
        (tmp_path / "kind").mkdir(exist_ok=True)
        frame = pd.DataFrame({"TimeStamp": stamps, "Value": values, "Label": label})
        frame.to_csv(tmp_path / "kind" / f"{name}.csv.gz", index=False)
    (report,) = evaluate("ms_cloud_monitoring", tmp_path, Options())
    assert [part["part"] for part in report.parts] == ["kind/late"]
    assert any("kind/early, kind/none" in note for note in report.notes)
    assert report.goal is None and report.met is None
    assert next(s for s in read_cloud(tmp_path) if s.name == "kind/late").learned == 108


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (None, "holds no"),
        (kpi_frame().drop(columns="split"), "has no column split"),
        (kpi_frame().assign(split="train"), "'train' must come before 'test'"),
        (kpi_frame().assign(split=np.where(np.arange(2880) > 1440, "train", "test")), "'train' must come before"),
        (kpi_frame().assign(label=0), "no series in .* holds an anomaly"),
    ],
)
def test_a_folder_that_lacks_something_is_told_so(tmp_path: Path, frame: pd.DataFrame | None, says: str) -> None:
    if frame is not None:
        frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=says):
        evaluate("kpi_aiops", tmp_path, Options())


def test_baselines_are_what_their_names_say() -> None:
    line = 3.0 + 2.0 * np.arange(200)
    assert linear_prediction(line)[60:] == pytest.approx(np.zeros(140), abs=1e-8)
    line[150] += 5
    assert linear_prediction(line)[150] == pytest.approx(5.0)
    times = 3600.0 * np.arange(72)
    daily = np.tile(np.arange(24.0), 3)
    daily[50] += 7
    assert np.flatnonzero(seasonal_naive(times, daily)).tolist() == [50]
    assert static_threshold(np.array([1.0, 3.0, 1.0, 3.0, 7.0]), 4)[4] == pytest.approx(5.0)


@pytest.mark.parametrize(("name", "reader"), [("kpi_aiops", read_kpi), ("ms_cloud_monitoring", read_cloud)])
def test_real_series_can_be_read(name: str, reader: object) -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / name
    if not folder.is_dir():
        pytest.skip(f"FOREWARN_DATA names no folder with {name}/: the real data set is not here")
    assert callable(reader)
    first = next(iter(reader(folder)))
    assert len(first.times) == len(first.values) == len(first.labels) > first.learned > 0
    assert (np.diff(first.times) >= 0).all()

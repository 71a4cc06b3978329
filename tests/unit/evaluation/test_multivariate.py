"""Machines are read as the data sets store them, scored causally, and never learned from their labels."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.evaluation.datasets.machines import Machine, read_asd, read_split
from forewarn.evaluation.datasets.multivariate import default_detector, evaluate, score_after
from forewarn.evaluation.datasets.report import DatasetError, Options

METRICS = 5


def made_up(seed: int = 1, n: int = 1500) -> tuple[pd.DataFrame, np.ndarray]:
    """A daily wave in five metrics, half train; in the test part metrics 2 and 3 (from 1) jump in two events."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(2 * n) / 144)[:, None]
    X = 0.3 * wave + 0.05 * rng.normal(size=(2 * n, METRICS))
    label = np.zeros(2 * n, dtype=np.int8)
    for start in (n + 300, n + 900):
        label[start : start + 30] = 1
        X[start : start + 30, 1:3] += rng.normal(scale=0.8, size=(30, 2))
    return pd.DataFrame(X.astype(np.float32), columns=[f"m{j:02}" for j in range(METRICS)]), label


@pytest.fixture
def smd(tmp_path: Path) -> Path:
    folder = tmp_path / "smd"
    (folder / "interpretation_label").mkdir(parents=True)
    table, label = made_up()
    half = len(table) // 2
    table["label"], table["split"] = label, pd.Categorical(["train"] * half + ["test"] * half)
    table.to_parquet(folder / "machine-1-1.parquet")
    quiet = table.assign(label=np.int8(0))
    quiet.to_parquet(folder / "machine-1-2.parquet")
    (folder / "interpretation_label" / "machine-1-1.txt").write_text("300-329:2,3\n900-929:2,3\n")
    return folder


def test_smd_beside_its_baselines(smd: Path) -> None:
    anomalies, false_alarms, found, causes = evaluate("smd", smd, Options())
    assert anomalies.value > max(0.9, anomalies.baselines["pca_offline"], anomalies.baselines["max_z"])
    assert anomalies.baselines["random"] < 0.3
    assert anomalies.met
    assert [part["part"] for part in anomalies.parts] == ["machine-1-1"]
    assert "1 left out" in anomalies.notes[-1]
    assert causes.value == 1.0
    assert found.value == 1.0
    assert false_alarms.value <= 2.0
    assert len(causes.parts) == 2


def test_asd_is_the_same_data_in_two_files(smd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "asd"
    folder.mkdir()
    table, label = made_up()
    half = len(table) // 2
    table[:half].to_parquet(folder / "omi-1_train.parquet")
    table[half:].assign(label=label[half:]).to_parquet(folder / "omi-1_test.parquet")
    (machine,), (other, _) = list(read_asd(folder)), list(read_split(smd))
    np.testing.assert_array_equal(machine.test, other.test)
    np.testing.assert_array_equal(machine.train, other.train)
    assert evaluate("asd", folder, Options())[0].value == pytest.approx(evaluate("smd", smd, Options())[0].value)


def test_labels_change_no_score_and_no_score_sees_what_follows(smd: Path) -> None:
    machine: Machine = next(read_split(smd))
    detector = default_detector(0)
    detector.learn(machine.train)
    scores = score_after(detector, machine.train, machine.test)
    cut = 700
    np.testing.assert_allclose(score_after(detector, machine.train, machine.test[:cut]), scores[:cut])
    again = default_detector(0)
    again.learn(machine.train)
    np.testing.assert_array_equal(score_after(again, machine.train, machine.test), scores)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"NAME\.parquet are expected"):
        evaluate("smd", tmp_path, Options())
    pd.DataFrame({"m00": [1.0], "label": [0]}).to_parquet(tmp_path / "omi-1_test.parquet")
    with pytest.raises(DatasetError, match=r"omi-1_train\.parquet is missing"):
        evaluate("asd", tmp_path, Options())
    with pytest.raises(DatasetError, match="no column split"):
        evaluate("smd", tmp_path, Options())


def test_missing_values_and_a_metric_that_is_not_there(smd: Path) -> None:
    path = smd / "machine-1-1.parquet"
    table = pd.read_parquet(path)
    table.loc[::7, "m00"] = np.nan
    table["m04"] = np.nan
    table.to_parquet(path)
    report = evaluate("smd", smd, Options())[0]
    assert report.value > 0.8
    assert all(0 <= value <= 1 for value in report.baselines.values())


def test_a_label_that_cannot_be_read_is_shown(smd: Path) -> None:
    (smd / "interpretation_label" / "machine-1-1.txt").write_text("300 to 329\n")
    with pytest.raises(DatasetError, match=r"'300 to 329' is not of the form"):
        evaluate("smd", smd, Options())


def test_a_real_machine() -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "")) / "asd"
    if not os.environ.get("FOREWARN_DATA") or not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with asd")
    from forewarn.evaluation.datasets.multivariate import anomaly_reports

    report = anomaly_reports(list(read_asd(folder))[:1], Options(), 300.0)[0]
    assert report.value > report.baselines["pca_offline"] > report.baselines["random"]

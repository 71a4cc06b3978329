"""Sequence files by their names, F1 with and without a file of usual test sequences, and the real data."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from forewarn.evaluation.datasets.registry import evaluate
from forewarn.evaluation.datasets.report import DatasetError, Options


def sequences(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(["5", "22", "5", "5", *["3"] * int(rng.integers(0, 4)), "21", "21"]) for _ in range(n)]


def folder(root: Path, **files: list[str]) -> Path:
    for name, lines in files.items():
        (root / f"{name}.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return root


BROKEN = ["5 22", "5 22 5 5 21", "5 22 5 5 9 21 21"] * 5


def test_with_a_file_of_usual_test_sequences(tmp_path: Path) -> None:
    usual = [*sequences(190, 2), *["5 22 5 21 21"] * 10]  # ten false alarms
    data = folder(tmp_path, any_train=sequences(400, 1), any_test_normal=usual, any_test_abnormal=BROKEN)
    (report,) = evaluate("hdfs_sequences", data, Options())
    assert report.value == pytest.approx(2 * 15 / (2 * 15 + 10))
    assert report.baselines["everything unusual"] == pytest.approx(2 * 15 / (2 * 15 + 200))
    assert "any_test_normal.gz" in report.notes[1]


def test_without_it_false_alarms_weigh_as_in_the_whole_set(tmp_path: Path) -> None:
    data = folder(tmp_path, hdfs_train=sequences(400, 1), hdfs_test_abnormal=BROKEN)
    rows = [*(f"{s},0" for s in sequences(99, 3)), "5 22 5 21 21,0", *(f"{s},1" for s in BROKEN)]
    (data / "robust_log_valid.csv").write_text("\n".join(["Sequence,label", *rows]) + "\n")
    f1, labelled = evaluate("hdfs_sequences", data, Options())
    false = 553_366 / 16_838 * 15 * 0.01
    assert f1.value == pytest.approx(2 * 15 / (2 * 15 + false))
    assert "flatter" in f1.notes[-1]
    assert labelled.value == pytest.approx(2 * 15 / (2 * 15 + 1))


def test_without_any_usual_test_sequences_the_last_are_held_out(tmp_path: Path) -> None:
    data = folder(tmp_path, hdfs_train=sequences(400, 1), hdfs_test_abnormal=BROKEN)
    (report,) = evaluate("hdfs_sequences", data, Options())
    assert "Learned from 320 usual" in report.notes[0]
    assert "last fifth" in report.notes[1]


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="abnormal"):
        evaluate("hdfs_sequences", folder(tmp_path, hdfs_train=sequences(30, 1)), Options())


def test_real_sequences_are_read_and_their_counts_tell_most() -> None:
    from forewarn.detection.log_counts import count_vectors, learn_counts
    from forewarn.evaluation.datasets.log_sequences import _read

    data = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "hdfs_sequences"
    if not data.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with hdfs_sequences/: the real data set is not here")
    found = _read(data)
    learn, usual, unusual = (
        count_vectors([[int(t) for t in s] for s in part], 40) for part in (found.learn, found.usual, found.unusual)
    )
    counts = learn_counts(learn, 5e-4)
    assert np.mean(counts.score(unusual) > counts.threshold) > 0.99
    assert np.mean(counts.score(usual) > counts.threshold) < 2e-3

"""NAB's score: its published facts, its rules by a plain reading of them, and a corpus in its format."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.detection.streaming_alarms import StreamingAlarms
from forewarn.evaluation.datasets.nab import evaluate, read
from forewarn.evaluation.datasets.nab_score import ScoredFile, at_threshold, best, prepare, probation
from forewarn.evaluation.datasets.report import DatasetError, Options
from forewarn.evaluation.datasets.univariate_baselines import windowed_gaussian

WINDOWS = [(300, 349), (700, 749)]


def corpus() -> list[ScoredFile]:
    return [prepare(1000, WINDOWS), prepare(1000, [])]


def sigmoid(x: float) -> float:
    """As the paper draws it."""
    return 2.0 / (1.0 + math.exp(5.0 * x)) - 1.0


def plain_score(alarm: np.ndarray, windows: list[tuple[int, int]]) -> float:
    """Raw score of one file, sample by sample, from the rules."""
    total = 0.0
    for first, last in windows:
        hits = [i for i in range(max(first, probation(len(alarm))), last + 1) if alarm[i]]
        length = last - first + 1
        total += sigmoid(-(last - hits[0] + 1) / length) / sigmoid(-1.0) if hits else -1.0
    for i in range(probation(len(alarm)), len(alarm)):
        if not alarm[i] or any(first <= i <= last for first, last in windows):
            continue
        past = [(first, last) for first, last in windows if last < i]
        far = (i - past[-1][1]) / (past[-1][1] - past[-1][0]) if past else math.inf
        total += 0.11 * (sigmoid(far) if far < 3 else -1.0)
    return total


def test_a_silent_detector_earns_0_and_a_perfect_one_100() -> None:
    files = corpus()
    assert best(files, [np.full(1000, 0.5)] * 2).score == pytest.approx(0.0)
    perfect = np.zeros(1000)
    perfect[[first for first, _ in WINDOWS]] = 1.0
    result = best(files, [perfect, np.zeros(1000)])
    assert result.score == pytest.approx(100.0)
    assert (result.found, result.false_alarms, result.threshold) == (2, 0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_that_of_the_rules_read_plainly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alarms = [rng.random(1000) < 0.01, rng.random(1000) < 0.003]
    raw = sum(plain_score(alarm, windows) for alarm, windows in zip(alarms, (WINDOWS, []), strict=True))
    expected = 100 * (raw + 2) / (2 + 2)
    assert at_threshold(corpus(), [alarm.astype(float) for alarm in alarms], 0.5).score == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 200, 1000) / 200, rng.integers(0, 200, 1000) / 200]
    scores[0][[310, 720]] = 0.995
    found = best(corpus(), scores)
    every = [at_threshold(corpus(), scores, threshold).score for threshold in np.unique(np.concatenate(scores))]
    assert found.score == pytest.approx(max([0.0, *every]))
    assert found.per_file.sum() == pytest.approx(found.score)


def test_an_early_alarm_is_worth_more_and_only_the_first_counts() -> None:
    def score(*places: int) -> float:
        alarm = np.zeros(1000)
        alarm[list(places)] = 1.0
        return at_threshold(corpus()[:1], [alarm], 1.0).score

    assert score(300) > score(325) > score(349) > score() == 0.0
    assert score(325, 326, 340) == pytest.approx(score(325))
    assert score(325, 352) > score(325, 600)  # shortly after a window a false alarm costs less


def test_probation_is_not_scored() -> None:
    assert (probation(1000), probation(5000), probation(20_000)) == (150, 750, 750)
    early = np.zeros(1000)
    early[:150] = 1.0
    assert at_threshold(corpus()[:1], [early], 1.0).score == 0.0
    early[150] = 1.0
    assert at_threshold(corpus()[:1], [early], 1.0).score == pytest.approx(-100 * 0.11 / 4)


def test_windowed_gaussian_is_the_normal_tail_of_the_past() -> None:
    values = np.random.default_rng(0).normal(5, 2, 900)
    scores = windowed_gaussian(values, window=300, step=100)
    for i, past in (
        (1, values[:1]),
        (50, values[:50]),
        (300, values[:300]),
        (399, values[:300]),
        (400, values[100:400]),
    ):
        z = abs(values[i] - past.mean()) / (past.std() or 1e-6)
        assert scores[i] == pytest.approx(1 - 0.5 * math.erfc(z / math.sqrt(2)), abs=1e-9)


def write_corpus(folder: Path) -> None:
    """Two files as NAB has them: a daily wave with a step, and one without an anomaly."""
    times = pd.date_range("2014-04-01", periods=1500, freq="5min")
    rng = np.random.default_rng(0)
    windows = {}
    for name, step in (("made/step.csv", 12.0), ("made/calm.csv", 0.0)):
        values = 50 + 3 * np.sin(np.arange(1500) * 2 * np.pi / 288) + rng.normal(size=1500)
        values[1000:1040] += step
        (folder / name).parent.mkdir(exist_ok=True)
        pd.DataFrame({"timestamp": times, "value": values}).to_csv(folder / f"{name}.gz", index=False)
        windows[name] = [[f"{times[950]}.000000", f"{times[1060]}.000000"]] if step else []
    windows["not/here.csv"] = []
    (folder / "combined_windows.json").write_text(json.dumps(windows))


def test_a_corpus_in_nabs_format_is_read_and_scored(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files = {file.name: file for file in read(tmp_path)}
    assert files["made/step.csv"].scored.windows == 1 and files["made/calm.csv"].scored.windows == 0
    assert np.flatnonzero(files["made/step.csv"].scored.window == 0)[[0, -1]].tolist() == [950, 1060]
    report, fixed = evaluate("nab", tmp_path, Options())
    assert 60 < report.value <= 100 and fixed.value <= report.value
    assert report.goal == 75.0
    assert sum(part["value"] for part in report.parts) == pytest.approx(report.value)
    assert set(report.baselines) == {"windowed Gaussian", "static threshold", "Isolation Forest", "random"}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "combined_windows.json").unlink(), "combined_windows.json is missing"),
        (lambda f: (f / "combined_windows.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "combined_windows.json").write_text("{}"), "says nothing of made/calm.csv"),
        (lambda f: (f / "made" / "odd.csv").write_text("a,b\n1,2\n"), "says nothing of made/odd.csv"),
        (lambda f: [p.unlink() for p in (f / "made").iterdir()], "holds no .csv"),
        (lambda f: (f / "made" / "step.csv.gz").unlink(), "no file in .* has a labelled window"),
    ],
)
def test_a_folder_that_lacks_something_is_told_so(tmp_path: Path, spoil: object, says: str) -> None:
    write_corpus(tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(DatasetError, match=says):
        evaluate("nab", tmp_path, Options())


def test_real_corpus() -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "nab"
    if not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with nab/: the real data set is not here")
    files = read(folder)[::4]  # enough to see that it works
    scored = [file.scored for file in files]
    alarms = [StreamingAlarms().score(file.times, file.values, file.scored.probation) for file in files]
    assert best(scored, alarms).score > best(scored, [windowed_gaussian(file.values) for file in files]).score

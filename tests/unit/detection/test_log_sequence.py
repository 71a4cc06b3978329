"""Unusual sequences of templates: what never varies counts, what varies does not, order counts, thresholds hold."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.detection.log_counts import count_vectors, learn_counts
from forewarn.detection.log_sequence import LogSequenceDetector, tail_threshold

Sequence = tuple[str, ...]


def usual(n: int, seed: int = 0) -> list[Sequence]:
    """A block is opened, written three times, read any number of times, and closed."""
    rng = np.random.default_rng(seed)
    return [
        ("open", "write", "write", "write", *["read"] * int(rng.geometric(0.25)), "close", "gone") for _ in range(n)
    ]


@pytest.fixture(scope="module")
def detector() -> LogSequenceDetector:
    learned = LogSequenceDetector(false_alarms=1e-3, steps=400)
    learned.learn(usual(1200))
    return learned


def test_finds_what_breaks_the_protocol(detector: LogSequenceDetector) -> None:
    broken = {
        "a write is missing": ("open", "write", "write", "read", "close", "gone"),
        "cut off": ("open", "write"),
        "never seen": ("open", "write", "write", "write", "read", "boom", "close", "gone"),
        "closed twice": ("open", "write", "write", "write", "read", "close", "close", "gone"),
    }
    verdict = detector.judge(list(broken.values()))
    assert dict(zip(broken, verdict.unusual.tolist(), strict=True)) == dict.fromkeys(broken, True)


def test_finds_a_wrong_order_of_the_right_counts(detector: LogSequenceDetector) -> None:
    verdict = detector.judge([("open", "close", "write", "gone", "write", "write", "read")])
    assert verdict.counts[0] == 0.0
    assert verdict.order[0] > 1.0


def test_keeps_the_budget_on_sequences_not_learned(detector: LogSequenceDetector) -> None:
    verdict = detector.judge(usual(4000, seed=1))
    assert verdict.unusual.mean() <= 0.005


def test_more_of_what_varies_is_usual(detector: LogSequenceDetector) -> None:
    most = max(len(s) for s in usual(1200)) - 6
    verdict = detector.judge([("open", "write", "write", "write", *["read"] * (most + 3), "close", "gone")])
    assert 0.0 < verdict.counts[0] < 1.0  # never seen, and not unusual


def test_comes_back_from_files(detector: LogSequenceDetector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    some = [*usual(20, seed=2), ("open", "boom")]
    mine, again = detector.judge(some), LogSequenceDetector.load(tmp_path).judge(some)
    np.testing.assert_allclose(again.order, mine.order)
    np.testing.assert_array_equal(again.counts, mine.counts)
    with pytest.raises(FileNotFoundError):
        LogSequenceDetector.load(tmp_path / "nowhere")


def test_order_reads_only_the_past(detector: LogSequenceDetector) -> None:
    assert detector._order is not None
    numbers = detector._numbers([("open", "write", "close"), ("open", "write", "gone")])
    rows = np.array([[0, *(n + 2 for n in sequence)] for sequence in numbers])
    logits = detector._order._logits(rows).detach().numpy()
    np.testing.assert_allclose(logits[0, :3], logits[1, :3])


def test_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="learned nothing"):
        LogSequenceDetector().judge([("a",)])
    with pytest.raises(ValueError, match="too few"):
        LogSequenceDetector().learn([("a",)] * 5)


def test_counts_of_a_constant_protocol_call_all_else_unusual() -> None:
    counts = count_vectors([[0, 1, 1]] * 50, 3)
    learned = learn_counts(counts, 1e-3)
    scores = learned.score(np.array([[1, 2, 0], [1, 3, 0], [1, 2, 1]]))
    assert (scores > learned.threshold).tolist() == [False, True, True]


def test_tail_threshold_of_an_exponential_tail() -> None:
    scores = np.random.default_rng(0).exponential(1.0, 20_000)
    assert tail_threshold(scores, 5e-4) == pytest.approx(-np.log(5e-4), rel=0.1)

"""VUS-PR is the package's figure, and its window TSB-AD's."""

import numpy as np
import pytest

from forewarn.evaluation.datasets.vus_pr import period_of, segments, vus_pr


def series(seed: int, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Labels with events at the very start and end, too, and scores that know something, with ties."""
    rng = np.random.default_rng(seed)
    label = np.zeros(n)
    for start in [0, n - 3, *rng.integers(5, n - 40, 4)]:
        label[start : start + rng.integers(1, 30)] = 1
    return label, np.round(rng.normal(size=n) + label, 1 if seed % 2 else 6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("window", [0, 1, 7, 40])
def test_equals_the_package(seed: int, window: int) -> None:
    package = pytest.importorskip("vus.utils.metrics", reason="the package vus is not installed")
    label, score = series(seed)
    expected = package.metricor().RangeAUC_volume_opt(label, score, window, 250)[-1]
    assert vus_pr(label, score, window) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("period", [7, 40, 144])
def test_window_is_the_period(period: int) -> None:
    reference = pytest.importorskip("vus.utils.slidingWindows", reason="the package vus is not installed")
    noise = np.random.default_rng(1).normal(size=3000)
    x = np.sin(2 * np.pi * np.arange(3000) / period) + 0.1 * noise
    assert period_of(x) == reference.find_length(x)
    assert period_of(x) % period in (0, 1, period - 1)


def test_window_without_a_period() -> None:
    assert period_of(np.ones(500)) == 125


def test_knowing_beats_guessing() -> None:
    label, _ = series(2)
    rng = np.random.default_rng(0)
    assert vus_pr(label, label + 0.01 * rng.random(len(label)), 10) > 0.9
    assert vus_pr(label, rng.random(len(label)), 10) < 0.4


def test_refuses_what_it_cannot_score() -> None:
    with pytest.raises(ValueError, match="at least one anomaly"):
        vus_pr(np.zeros(9), np.ones(9), 3)
    with pytest.raises(ValueError, match="finite"):
        vus_pr(np.ones(9), np.full(9, np.nan), 3)
    with pytest.raises(ValueError, match="one length"):
        vus_pr(np.ones(9), np.ones(8), 3)


def test_segments() -> None:
    assert segments([1, 1, 0, 0, 1]) == [(0, 1), (4, 4)]

"""A kind of signal that changes everywhere is seen among many that do not; a bad day of one entity is no drift."""

import numpy as np
from numpy.typing import NDArray

from monitor_assets.drift.moved_signals import moved_features, moved_kinds, quantiles_of_days

DAYS, ROWS, FEATURES = 10, 96, 30
SIGNALS = ["memory"] * 5 + ["latency"] * 12


def days_of(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Features, series and day of each row; days differ a little from each other."""
    rng = np.random.default_rng(seed)
    shape = (len(SIGNALS), DAYS, ROWS, FEATURES)
    values = rng.normal(size=shape) + 0.3 * rng.normal(size=(len(SIGNALS), DAYS, 1, FEATURES))
    series, day, _ = np.indices(shape[:3])
    return values, series, day


def kinds(values: NDArray[np.float64], series: NDArray[np.int64], day: NDArray[np.int64]) -> dict[str, float]:
    """Share of each kind's series that moved."""
    flat = values.reshape(-1, FEATURES)
    return {k.signal: k.share for k in moved_kinds(flat, series.ravel(), day.ravel(), 7, SIGNALS)}


def test_days_like_the_others_are_no_drift() -> None:
    for seed in range(5):
        assert max(kinds(*days_of(seed)).values()) < 0.6


def test_a_kind_that_moves_everywhere_is_seen() -> None:
    values, series, day = days_of(1)
    values[:5, -1, :, :12] += 2.0
    found = kinds(values, series, day)
    assert found["memory"] == 1.0
    assert found["latency"] < 0.6


def test_a_day_that_was_as_bad_before_is_no_drift() -> None:
    values, series, day = days_of(1)
    values[:5, [2, -1], :, :12] += 2.0
    assert kinds(values, series, day)["memory"] < 0.6


def test_too_little_is_not_judged() -> None:
    values, _, day = days_of(1)
    own, at = values[0].reshape(-1, FEATURES), day[0].ravel()
    few = quantiles_of_days(own, at, np.array([0, 1, 2]))
    assert np.isnan(moved_features(few, few[0]))
    own[at == 9, 0] = np.nan  # a feature that is missing says nothing
    assert np.isnan(quantiles_of_days(own, at, np.array([9]))[0, :, 0]).all()
    assert np.isnan(quantiles_of_days(own[:20], at[:20], np.array([0]))).all()

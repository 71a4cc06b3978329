"""Intervals of the time to failure: as often right as they say, for failures rather than for rows."""

import numpy as np
import pytest

from forewarn.features.definitions import FEATURE_COUNT
from forewarn.forecasting.time_to_failure import TimeToFailureModel, weighted_quantile

RNG = np.random.default_rng(4)


def model() -> TimeToFailureModel:
    """Learned from rows of which the first column tells the time."""
    features = np.full((400, FEATURE_COUNT), np.nan)
    steps = RNG.uniform(1, 300, 400)
    features[:, 0] = steps
    return TimeToFailureModel.fit(features, steps, 0)


def test_a_weighted_quantile_is_the_value_at_which_so_much_weight_is_reached() -> None:
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert [weighted_quantile(values, weight, q) for q in (0.05, 0.5, 0.9, 0.95, 1.0)] == [1.0, 2.0, 2.0, 3.0, 3.0]


def test_the_interval_holds_what_it_says_of_failures_that_differ_in_rows() -> None:
    # one failure in three is told with an error of 1.5 in ln(1 + steps), and has a twentieth of the rows
    failures = 300
    rows = np.where(np.arange(failures) % 3 == 0, 2, 40)
    wrong = np.repeat(np.where(np.arange(failures) % 3 == 0, 1.5, 0.1), rows)
    weight = np.repeat(1 / rows, rows)
    steps = RNG.uniform(20, 300, len(wrong))
    error = wrong * RNG.uniform(-1, 1, len(wrong))
    said = np.log1p(steps)[:, None] + error[:, None] + np.array([-0.05, 0.0, 0.05])
    by_rows, by_failures = (model().calibrate_on(said, steps, w) for w in (np.ones(len(steps)), weight))

    def held(calibrated: TimeToFailureModel) -> float:
        inside = (said[:, 0] - calibrated.margin <= np.log1p(steps)) & (
            np.log1p(steps) <= said[:, 2] + calibrated.margin
        )
        return float(np.average(inside, weights=weight))

    assert held(by_failures) == pytest.approx(0.8, abs=0.01)
    assert held(by_rows) < 0.7


def test_the_middle_is_shifted_by_what_it_was_wrong() -> None:
    steps = np.full(50, 100.0)
    said = np.log1p(np.full((50, 3), 50.0))
    calibrated = model().calibrate_on(said, steps, np.ones(50))
    assert calibrated.shift == pytest.approx(np.log1p(100) - np.log1p(50))


def test_too_few_rows_change_nothing() -> None:
    before = model()
    assert before.calibrate_on(np.zeros((19, 3)), np.ones(19), np.ones(19)) is before
    assert before.log_quantiles(np.empty((0, FEATURE_COUNT))).shape == (0, 3)
    with pytest.raises(ValueError, match="at least 50"):
        TimeToFailureModel.fit(np.zeros((49, FEATURE_COUNT)), np.ones(49), 0)

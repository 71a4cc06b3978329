"""The trained scorer: of two opinions the higher counts."""

from typing import Any

import numpy as np

from forewarn.features.batch import features_at
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import TrainedScorer

STEPS = 2 * 1440 + 240


class Always:
    """Stands for a hazard model that says the same of every row."""

    def __init__(self, survival: float) -> None:
        self._survival = survival

    def survival(self, features: np.ndarray) -> np.ndarray:
        return np.full((len(features), len(HORIZON_STEPS)), self._survival)


def climbing() -> Any:
    """Features of a signal that is level for two days, then climbs into its limit: early, and shortly before."""
    values = np.full(STEPS, 0.4) + 0.005 * np.random.default_rng(0).standard_normal(STEPS)
    values[-240:] += np.linspace(0, 0.58, 240)
    grid = values[None].astype(np.float32)
    return features_at(grid, np.ones_like(grid), np.array([STEPS - 300, STEPS - 10]))[0]


def test_a_trend_into_the_limit_is_told_by_a_model_that_never_saw_one() -> None:
    rows = climbing()
    trend = FirstDayScorer().survival(rows)
    said = TrainedScorer("t", 0.5, Always(0.95), None).survival(rows)
    np.testing.assert_array_equal(said[1], trend[1])
    assert said[1, 3] < 0.3


def test_what_the_model_fears_counts_without_any_trend() -> None:
    rows = climbing()
    said = TrainedScorer("t", 0.5, Always(0.2), None).survival(rows)
    np.testing.assert_array_equal(said[0], 0.2)

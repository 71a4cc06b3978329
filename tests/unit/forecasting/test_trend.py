"""The trend's own rule: what a signal did before it, and whether its trend is to be believed."""

import numpy as np

from forewarn.features.batch import features_at
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.forecasting.trend import trend_survival

STEPS = 3 * 1440
PAGED = HORIZON_STEPS.index(360)


def chance(values: np.ndarray, at: int) -> float:
    """P(limit reached within 360 steps) of a signal whose limit is 1, at step `at`."""
    grid = values[None].astype(np.float32)
    features = features_at(grid, np.ones_like(grid), np.array([at]))[0]
    return float(1.0 - trend_survival(features)[0, PAGED])


def climbing(failed_before: float) -> np.ndarray:
    """Two days of a usual level, an incident that began so many hours before the climb of the last four hours."""
    rng = np.random.default_rng(0)
    values = 0.4 + 0.005 * rng.standard_normal(STEPS)
    begin = STEPS - 240
    values[begin:] += np.linspace(0, 0.55, 240)
    if failed_before:
        incident = begin - int(failed_before * 60)
        values[incident : incident + 60] = np.linspace(0.4, 1.0, 60)
        values[incident + 60 : incident + 120] = 1.0  # until somebody repairs it, at once
    return values


def test_the_repair_of_a_failure_is_not_falling_back_by_itself() -> None:
    calm, again = (chance(climbing(hours), STEPS - 15) for hours in (0, 16))
    assert calm > 0.9
    assert again > 0.9
    assert chance(climbing(4), STEPS - 15) > 0.9  # the failure lies within the last six hours


def test_what_falls_back_by_itself_is_doubted() -> None:
    rng = np.random.default_rng(0)
    sawtooth = 0.3 + 0.6 * (np.arange(STEPS) % 300) / 300 + 0.005 * rng.standard_normal(STEPS)
    assert chance(sawtooth, STEPS - 10) < 0.3
    failed = sawtooth.copy()
    failed[STEPS - 1000 : STEPS - 900] = 1.0  # and when it failed in between, it goes on falling back
    assert chance(failed, STEPS - 10) < 0.3

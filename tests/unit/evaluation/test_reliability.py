"""Reliability: honest predictions lie on the line, boasting ones do not."""

import numpy as np
import pytest

from forewarn.evaluation.reliability import calibration_error, reliability, wilson


def test_honest_probabilities_come_about_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    bins = reliability(p, rng.random(20_000) < p)
    assert calibration_error(bins) < 0.02 and sum(b.honest for b in bins) >= len(bins) - 1
    assert sum(b.count for b in bins) == 20_000


def test_boasting_shows() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    bins = reliability(p, rng.random(20_000) < p / 2)
    assert calibration_error(bins) == pytest.approx(0.25, abs=0.02) and not bins[-1].honest


def test_wilson_by_hand_and_at_the_ends() -> None:
    low, high = wilson(17, 20)
    assert (round(low, 2), round(high, 2)) == (0.64, 0.95)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0


def test_nothing_said_is_no_error() -> None:
    assert reliability(np.empty(0), np.empty(0, bool)) == [] and np.isnan(calibration_error([]))

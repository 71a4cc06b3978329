"""Weights against the censoring by those who act on warnings."""

import numpy as np
import pytest

from forewarn.classification.censoring import ActionCurve
from forewarn.classification.person_period import expand

HORIZONS = (10, 20, 40)
NEVER = np.inf


def one(curve: ActionCurve, failure: float, seen: float, warned: float, closed: float) -> list[float]:
    """Weights of the bins of one row."""
    arrays = (np.array([v]) for v in (failure, seen, warned, closed))
    return curve.inverse(*arrays, HORIZONS)[0].tolist()


def test_kaplan_meier_by_hand() -> None:
    """Four warnings: acted upon after 5 and 15 steps, ended by themselves after 10 and 20."""
    curve = ActionCurve.fit(np.array([5.0, 10, 15, 20]), np.array([True, False, True, False]))
    assert curve.at(np.array([-3.0, 0, 4.9, 5, 14, 15, 99])).tolist() == pytest.approx(
        [1, 1, 1, 0.75, 0.75, 0.375, 0.375]
    )
    assert curve.at(np.array([5.0, 15]), before=True).tolist() == pytest.approx([1, 0.75])


def test_where_nobody_acts_every_weight_is_one() -> None:
    curve = ActionCurve.fit(np.array([10.0, 20]), np.array([False, False]))
    assert one(curve, 15, 15, 2, 12) == one(curve, NEVER, 500, -5, 30) == [1, 1, 1]


def test_a_row_without_a_warning_counts_once() -> None:
    curve = ActionCurve.fit(np.array([5.0, 10]), np.array([True, False]))
    assert one(curve, 15, 15, NEVER, NEVER) == [1, 1, 1]


def test_a_moment_counts_for_those_who_were_helped_before_it() -> None:
    """Half were helped after 5 steps; the warning came with the row: from then on each stands for two."""
    curve = ActionCurve.fit(np.array([5.0, 30]), np.array([True, False]))
    assert one(curve, NEVER, 500, 0, 30) == pytest.approx([1.5, 2, 2])  # half of the first bin before, half after
    assert one(curve, 12, 12, 0, 12)[1] == pytest.approx(2)  # the failure came among those left alone
    assert one(curve, 4, 4, 0, 4)[0] == pytest.approx(1)  # nobody had been helped yet
    assert one(curve, NEVER, 500, 8, 38) == pytest.approx([1, 0.3 * 1 + 0.7 * 2, 2])  # warned eight steps later


def test_a_row_made_after_the_warning_starts_from_those_left() -> None:
    """At a row six steps after the warning half are gone already: it stands for itself."""
    curve = ActionCurve.fit(np.array([5.0, 30]), np.array([True, False]))
    assert one(curve, NEVER, 500, -6, 24) == pytest.approx([1, 1, 1])


def test_no_weight_beyond_the_floor() -> None:
    curve = ActionCurve.fit(np.full(100, 5.0), np.arange(100) > 0)
    assert max(one(curve, NEVER, 500, 0, 30)) <= 10 + 1e-9


def test_weighted_rows_stand_for_all_there_were() -> None:
    """However many are helped before they fail, the weighted hazard is the one that nobody disturbed."""
    rng = np.random.default_rng(1)
    n = 200_000
    severity = rng.exponential(1.0, n)
    failure = rng.exponential(30.0, n) / severity  # the severe fail soon and are warned of
    warned = np.where(severity > 1.0, 3.0, NEVER)
    delay = rng.uniform(2, 30, n)
    acts = (rng.random(n) < 0.6) & np.isfinite(warned) & (warned + delay < failure)
    acted = np.where(acts, warned + delay, NEVER)
    over = np.minimum(np.minimum(acted, failure), 40.0)
    told = np.isfinite(warned) & (failure > 3)
    curve = ActionCurve.fit((over - warned)[told], acts[told])
    steps, seen = np.where(acts, NEVER, failure), np.minimum(acted, 500.0)
    inverse = curve.inverse(steps, seen, np.where(told, warned, NEVER), np.where(told, over, NEVER), HORIZONS)

    def hazards(steps: np.ndarray, seen: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        p = expand(steps, seen, HORIZONS)
        weight = p.exposure * inverse[p.row, p.bin]
        return np.bincount(p.bin, weight * p.event) / np.bincount(p.bin, weight)

    ones = np.ones_like(inverse)
    truth = hazards(failure, np.full(n, 500.0), ones)
    assert hazards(steps, seen, inverse) == pytest.approx(truth, rel=0.03)
    assert hazards(steps, seen, ones)[2] < 0.93 * truth[2]  # censored alone: those left are the healthy ones
    naive = hazards(steps, np.full(n, 500.0), ones)
    assert naive[2] < 0.85 * truth[2]

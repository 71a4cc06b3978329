"""Bends of response times with load: the critical load is found where there is one, and nothing is said elsewhere."""

import numpy as np
import pytest

from forewarn.forecasting.load_bend import fit_bend

LIMIT = 2.0
CELLS = 288


def _day(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A day of load between `low` and `high` requests a second."""
    season = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(CELLS) / CELLS)
    return (low + (high - low) * season) * rng.lognormal(0, 0.03, CELLS)


def _mm1(load: np.ndarray, capacity: float, base: float = 0.05, service: float = 0.1) -> np.ndarray:
    """Response time of one server: base + service / (1 - utilisation)."""
    return base + service / (1 - load / capacity)


@pytest.mark.parametrize("capacity", [130.0, 150.0])
def test_the_critical_load_of_one_server_is_found_before_it_was_seen(capacity: float) -> None:
    rng = np.random.default_rng(3)
    load = _day(rng, 20, 100)
    value = _mm1(load, capacity) * rng.lognormal(0, 0.05, CELLS)
    bend = fit_bend(load[None], value[None], np.array([LIMIT]))
    true = capacity * (1 - 0.1 / (LIMIT - 0.05))
    assert bend.known.all()
    assert bend.critical[0, 1] == pytest.approx(true, rel=0.15)
    assert bend.critical[0, 0] <= true * 1.05 and bend.critical[0, 2] >= true * 0.95


def test_nothing_is_said_where_load_does_not_bend_the_signal() -> None:
    rng = np.random.default_rng(4)
    load = np.stack([_day(rng, 20, 100) for _ in range(50)])
    value = 0.3 * rng.lognormal(0, 0.1, load.shape)
    assert not fit_bend(load, value, np.full(50, LIMIT)).known.any()


def test_nothing_is_said_of_a_bend_that_is_far_away() -> None:
    rng = np.random.default_rng(5)
    load = _day(rng, 20, 100)
    value = _mm1(load, 2_000.0) * rng.lognormal(0, 0.02, CELLS)
    assert not fit_bend(load[None], value[None], np.array([LIMIT])).known.any()


def test_nothing_is_said_where_the_newest_cells_are_off_the_bend() -> None:
    rng = np.random.default_rng(6)
    load = _day(rng, 20, 100)
    value = _mm1(load, 130.0) * rng.lognormal(0, 0.05, CELLS)
    slower = value.copy()
    slower[-8:] += 0.4  # something else takes time now
    known = fit_bend(np.stack([load, load]), np.stack([value, slower]), np.full(2, LIMIT)).known
    assert known.tolist() == [True, False]


def test_an_overload_and_what_surrounds_it_is_no_part_of_the_bend() -> None:
    rng = np.random.default_rng(7)
    load = _day(rng, 20, 100)
    value = _mm1(load, 130.0) * rng.lognormal(0, 0.05, CELLS)
    broken = value.copy()
    broken[40:60] = 10.0  # at little load: a crash, not a bend
    broken[30:40] = 1.5  # and what led there
    calm, after = fit_bend(np.stack([load, load]), np.stack([value, broken]), np.full(2, LIMIT)).critical[:, 1]
    assert after == pytest.approx(calm, rel=0.1)


def test_missing_cells_few_cells_and_steady_loads_are_borne() -> None:
    rng = np.random.default_rng(8)
    load = _day(rng, 20, 100)
    value = _mm1(load, 130.0)
    gaps, few, steady = load.copy(), load.copy(), np.full(CELLS, 50.0)
    gaps[::3], few[10:] = np.nan, np.nan
    bend = fit_bend(np.stack([gaps, few, steady]), np.stack([value] * 3), np.full(3, LIMIT))
    assert bend.known.tolist() == [True, False, False]

"""A small lasting rise beyond what load explains is seen; seasons, growth, incidents and bad days are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.evaluation.lifecycle.level_shift import hourly, level_shift, usual_steps, without_incidents

STEP = 300.0
DAY = 288
DAYS = 12
F64 = NDArray[np.float64]


def world(seed: int) -> tuple[F64, F64]:
    """Use of a limit and load [DAYS * DAY]: days, weeks, noise, and a level that differs a little from day to day."""
    rng = np.random.default_rng(seed)
    time = np.arange(DAYS * DAY) / DAY
    weekend = np.where(time % 7 >= 5, 0.7, 1.0)
    load = (1 + 0.6 * np.sin(2 * np.pi * time)) * weekend * rng.normal(1, 0.05, len(time))
    days = np.repeat(rng.normal(0, 0.002, DAYS), DAY)
    return 0.4 + 0.1 * load + days + rng.normal(0, 0.01, len(time)), load


def chance(use: F64, load: F64 | None) -> float:
    """p-value of the newest day."""
    clean = without_incidents(use, STEP)
    found = level_shift(
        hourly(clean, STEP), usual_steps(clean, STEP), None if load is None else hourly(load, STEP), DAYS - 1
    )
    assert found is not None
    return found.chance


@pytest.mark.parametrize("sign", [1, -1])
def test_a_request_that_needs_more_is_seen_within_a_day(sign: int) -> None:
    for seed in range(5):
        use, load = world(seed)
        use[-DAY:] += sign * 0.03
        assert chance(use, load) < 1e-4


def test_seasons_and_more_users_are_no_shift() -> None:
    for seed in range(8):
        use, load = world(seed)
        assert chance(use, load) > 1e-3
        more = np.where(np.arange(len(load)) >= len(load) - DAY, 1.3, 1.0)
        assert chance(use + 0.1 * load * (more - 1), load * more) > 1e-3


def test_what_grows_by_itself_is_no_shift() -> None:
    use, load = world(1)
    growth = np.arange(len(use)) / DAY * 0.02
    assert chance(use + growth, load) > 1e-3
    assert chance(use, load) > 1e-3


def test_an_incident_of_some_hours_is_no_shift() -> None:
    use, load = world(2)
    use[-120:-40] += np.linspace(0, 0.7, 80)  # reaches the limit, is repaired
    assert chance(use, load) > 1e-3


def test_a_day_that_was_as_high_before_is_no_shift() -> None:
    use, load = world(3)
    use[-DAY:] += 0.03
    use[3 * DAY : 5 * DAY] += 0.03
    assert chance(use, load) > 1e-3


def test_what_is_too_small_to_matter_is_no_shift() -> None:
    use, load = world(4)
    use[-DAY:] += 0.003
    assert chance(use, load) == 1.0


def test_too_few_days_are_not_judged() -> None:
    use, load = world(5)
    days = hourly(use, STEP), usual_steps(use, STEP), hourly(load, STEP)
    assert level_shift(*days, 4) is None
    use[-DAY:-60] = np.nan
    assert level_shift(hourly(use, STEP), usual_steps(use, STEP), hourly(load, STEP), DAYS - 1) is None


def test_hours_before_the_limit_is_reached_are_left_out() -> None:
    use = np.full(3 * DAY, 0.5)
    use[400:410] = 1.0
    left = np.flatnonzero(np.isnan(without_incidents(use, STEP)))
    assert left[0] == 400 - 72 and left[-1] == 409 and len(left) == 82

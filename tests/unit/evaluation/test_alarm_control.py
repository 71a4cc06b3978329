"""The control of false pages: what it promises whatever the world does."""

import numpy as np
import pytest

from forewarn.detection.false_alarm_budget import WEEK, FalseAlarmBudget
from forewarn.evaluation.alarm_control import GAIN, MOST, AlarmControl, Watched, controlled
from forewarn.risk.paging_threshold import raised_threshold

BUDGET = FalseAlarmBudget.parse("one false page per service and week")


def test_a_page_beyond_the_budget_raises_the_threshold_and_quiet_lowers_it_again() -> None:
    start = AlarmControl()
    assert controlled(start, Watched(1, WEEK, 1), BUDGET) == start  # just what is allowed
    after = controlled(start, Watched(3, WEEK, 1), BUDGET)
    assert after.raised == pytest.approx(2 * GAIN) and after.threshold(0.3) > 0.3
    assert controlled(after, Watched(0, WEEK, 1), BUDGET).raised == pytest.approx(GAIN)
    assert controlled(after, Watched(0, 99 * WEEK, 1), BUDGET) == start  # never below the model's own


def test_a_large_fleet_does_not_jump_at_one_page() -> None:
    one = controlled(AlarmControl(), Watched(3, WEEK, 1), BUDGET).raised
    fleet = controlled(AlarmControl(), Watched(102, 100 * WEEK, 100), BUDGET).raised
    assert fleet == pytest.approx(one / 10)


def test_the_raise_moves_log_odds() -> None:
    assert raised_threshold(0.3, 0.0) == 0.3
    assert raised_threshold(0.5, 1.0) == pytest.approx(1 / (1 + np.exp(-1)))
    assert 0.98 < AlarmControl(MOST).threshold(0.3) < 1


@pytest.mark.parametrize("candidates", [0.5, 3.0, 8.0])
def test_false_pages_keep_to_the_budget_however_many_candidates_there_are(candidates: float) -> None:
    """A year of one service: candidates with exponential peaks; the excess is bounded by MOST / GAIN pages."""
    rng = np.random.default_rng(4)
    state, false, weeks = AlarmControl(), 0, 52
    for _ in range(weeks * 7):
        peaks = rng.exponential(1.0, rng.poisson(candidates / 7))
        pages = int((peaks >= state.raised).sum())
        false += pages
        state = controlled(state, Watched(pages, WEEK / 7, 1), BUDGET)
    assert false <= weeks + MOST / GAIN
    assert false >= 0.7 * min(candidates, 1.0) * weeks  # quiet, and not mute

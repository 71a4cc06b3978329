"""Labels: steps until the limit, censoring, and nothing while failing."""

import numpy as np

from forewarn.features.labels import RECOVERY_STEPS, Judgement, time_to_limit


def test_steps_count_to_the_next_failing_cell_and_stop_while_it_fails() -> None:
    grid = np.zeros((1, 60), np.float32)
    grid[0, 20:25] = 10
    steps, observed = time_to_limit(grid, np.full_like(grid, 10))
    assert steps[0, 0] == 20
    assert steps[0, 20] == 0  # the first failing cell has not been seen yet
    assert np.isnan(steps[0, 21 : 25 + RECOVERY_STEPS]).all()
    assert np.isinf(steps[0, 25 + RECOVERY_STEPS :]).all()
    assert observed[0, 59] == 1


def test_a_signal_without_a_limit_is_observed_for_no_time() -> None:
    steps, observed = time_to_limit(np.ones((1, 10), np.float32), np.full((1, 10), np.nan, np.float32))
    assert np.isinf(steps).all()
    assert np.isnan(observed).all()


def rising(cells: int = 80, failed: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """A signal that fails at cell 50."""
    grid = np.zeros((1, cells), np.float32)
    grid[0, failed:] = 10
    return grid, np.full_like(grid, 10)


def test_who_acts_ends_what_was_watched_of_all_rows_before() -> None:
    grid, limits = rising(failed=999)
    steps, observed = time_to_limit(grid, limits, [Judgement(0, "averted", 20, 30)])
    assert observed[0, [0, 20, 29]].tolist() == [30, 10, 1]  # rows before the warning, too
    assert observed[0, 30] == 50 and np.isinf(steps).all()


def test_what_was_dismissed_did_not_fail() -> None:
    steps, _ = time_to_limit(*rising(), [Judgement(0, "dismissed", 20, 79)])
    assert np.isinf(steps[0]).all()
    elsewhere, _ = time_to_limit(*rising(), [Judgement(0, "dismissed", 10, 40)])
    assert elsewhere[0, 0] == 50


def test_what_was_confirmed_fails_when_it_was_foretold_unless_it_was_seen_to() -> None:
    quiet = np.zeros((1, 80), np.float32)
    steps, _ = time_to_limit(quiet, np.full_like(quiet, 10), [Judgement(0, "confirmed", 20, 40)])
    assert steps[0, 20] == 20 and np.isinf(steps[0, 41:][~np.isnan(steps[0, 41:])]).all()
    seen, _ = time_to_limit(*rising(), [Judgement(0, "confirmed", 20, 60)])
    assert seen[0, 20] == 30

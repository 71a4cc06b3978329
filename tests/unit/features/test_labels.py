"""Labels: steps until the limit, censoring, and nothing while failing."""

import numpy as np

from forewarn.features.labels import RECOVERY_STEPS, time_to_limit


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

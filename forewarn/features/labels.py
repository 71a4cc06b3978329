"""What really came: steps until a signal reaches its limit, and how long nobody could have seen it not to."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

RECOVERY_STEPS = 15  # a failure is over after so many cells below the limit


def failing_cells(grid: F32, limits: F32) -> NDArray[np.bool_]:
    """bool [S, C]: the signal is at or above its limit, or fell below it less than RECOVERY_STEPS cells ago."""
    with np.errstate(invalid="ignore"):
        at_limit = grid >= limits
    failing = at_limit.copy()
    for k in range(1, RECOVERY_STEPS):
        failing[:, k:] |= at_limit[:, :-k]
    return failing


def time_to_limit(grid: F32, limits: F32) -> tuple[F32, F32]:
    """(steps_to_failure, observed_steps), each float32 [S, C].

    At cell t: steps from the end of cell t - 1 (what features at t have seen) to the start of the next failing
    cell, inf where none follows; and the steps that were observed from t on. NaN while failing: nothing is
    predicted then. A limit that is not known gives (inf, NaN).
    """
    series, cells = grid.shape
    failing = failing_cells(grid, limits)
    position = np.where(failing, np.arange(cells), cells + 1)
    following = np.minimum.accumulate(position[:, ::-1], axis=1)[:, ::-1]
    steps = np.where(following <= cells, following - np.arange(cells), np.inf).astype(np.float32)
    observed = np.broadcast_to(np.arange(cells, 0, -1), (series, cells)).astype(np.float32)
    was_failing = np.zeros_like(failing)
    was_failing[:, 1:] = failing[:, :-1]
    unknown = was_failing | np.isnan(limits)
    steps[was_failing] = np.nan
    observed = np.where(unknown, np.nan, observed)
    return steps, observed.astype(np.float32)

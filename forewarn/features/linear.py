"""Time to the limit by a straight line alone, for every limited series at once: the quick look."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from forewarn.features.kernel import _HOUR, _at, _moments
from forewarn.features.windows import WindowStore

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_WINDOW = 60  # steps


def linear_steps_to_limit(store: WindowStore, end: int) -> tuple[I64, F64]:
    """Rows of all limited series [R], and steps from cell `end` until a least-squares line through the last 60 cells
    reaches the limit [R]: 0 at or above it, inf where the line does not rise, NaN with fewer than three cells.

    As `predict_linear` in Prometheus does, and `log_steps_to_limit_1h` among the features.
    """
    store._link()
    store.close_cells(end)
    cells = store._cells
    begun = cells.head[store._limited] >= 0  # a series whose first samples are stale markers has no cells
    rows = store._limited[begun]
    limits = store.known_before(store._limit_row[begun], end)
    out = np.empty(len(rows))
    _steps(cells.fine, rows, end - cells.fine_base[rows], limits, out)
    return rows, out


@njit(cache=True, parallel=True)
def _steps(fine: NDArray[np.float32], rows: I64, ends: I64, limits: F64, out: F64) -> None:
    for r in prange(len(rows)):
        moments = np.empty(7)
        cells, limit = fine[rows[r]], limits[r]
        _moments(cells, ends[r], _WINDOW, limit, 1.0, moments)
        distance, slope = 1.0 - _at(cells, ends[r] - 1, 4) / limit, moments[4]
        if np.isnan(slope) or np.isnan(distance):
            out[r] = np.nan
        elif distance <= 0:
            out[r] = 0.0
        else:
            out[r] = _HOUR * distance / slope if slope > 0 else np.inf

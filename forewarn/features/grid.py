"""History of series on a grid of cells, made by the same loop that fills the stream's windows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import COARSE_STEPS
from forewarn.features.windows_kernel import OPEN_CELLS, put_samples
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.samples import Kind, Series

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


def grid_start(start_ns: int, step_seconds: float) -> int:
    """The last start of a coarse block at or before `start_ns`: where a grid may begin (nanoseconds)."""
    block = int(step_seconds * 1e9) * COARSE_STEPS
    return start_ns // block * block


def to_grids(
    index: NDArray[np.int32],
    times_ns: I64,
    values: NDArray[np.float64],
    kinds: Sequence[Kind],
    start_ns: int,
    step_seconds: float,
    cells: int,
) -> F32:
    """Many series at once: float32 [S, cells], NaN = missing; counters become rates per second.

    index: int32 [n], the series (< S = len(kinds)) of each of n samples; times_ns: int64 [n] in any order;
    values: float64 [n]. Raises ValueError where start_ns does not come from `grid_start`.
    """
    step_ns = int(step_seconds * 1e9)
    if start_ns % (step_ns * COARSE_STEPS):
        raise ValueError(
            f"start_ns={start_ns} is no multiple of {COARSE_STEPS} steps of {step_seconds} s: use grid_start"
        )
    order = np.argsort(times_ns, kind="stable")
    filler = GridFiller(kinds, start_ns, step_seconds, cells)
    filler.put(index[order], times_ns[order], values[order])
    return filler.grid().copy()


class GridFiller:
    """Fills a grid piece by piece, so that a history larger than memory can pass through it."""

    def __init__(self, kinds: Sequence[Kind], start_ns: int, step_seconds: float, cells: int) -> None:
        """See `to_grids`."""
        self._step_ns = int(step_seconds * 1e9)
        self._start, self._stop, self._cells = start_ns, start_ns + cells * self._step_ns, cells
        self._kinds = np.array(kinds, np.int8)
        self._state = Cells.empty(len(kinds), cells + OPEN_CELLS, 2, 2)
        self._state.fine_base[:] = start_ns // self._step_ns
        self._state.head[:] = self._state.fine_base  # a base that does not move: cells before the first are missing
        self._state.first[:] = self._state.fine_base

    def put(self, index: NDArray[np.int32], times_ns: I64, values: NDArray[np.float64]) -> None:
        """Samples in order of time within each series, none older than what was put before."""
        inside = (times_ns >= self._start) & (times_ns < self._stop)
        if not inside.all():
            index, times_ns, values = index[inside], times_ns[inside], values[inside]
        self._state.put(index, times_ns, values, self._kinds, self._step_ns)

    def grid(self) -> F32:
        """float32 [S, cells], a view of what was put so far."""
        return self._state.fine[:, : self._cells]


class Cells:
    """Arrays of the windows of S series; see `windows_kernel` for what the columns mean.

    fine, medium, coarse: float32 [S, capacity], NaN = missing. base: absolute number of the first column's cell.
    head: newest cell, -1 before the first sample. last_value: the newest cell that had a sample, last_cell: which
    that is, earlier: the one before it. ended: cell of a stale marker, -1 while samples come.
    """

    def __init__(self, fine: F32, medium: F32, coarse: F32) -> None:
        n = len(fine)
        self.fine, self.medium, self.coarse = fine, medium, coarse
        self.fine_base, self.medium_base, self.coarse_base = (np.zeros(n, np.int64) for _ in range(3))
        self.head, self.first = np.full(n, -1, np.int64), np.zeros(n, np.int64)
        self.counts = np.zeros((n, OPEN_CELLS), np.uint16)
        self.last_time = np.full(n, np.iinfo(np.int64).min // 2, np.int64)
        self.last_raw, self.last_value, self.earlier = (np.full(n, np.nan) for _ in range(3))
        self.last_cell = np.full(n, -1, np.int64)
        self.ended = np.full(n, -1, np.int64)
        self.tallies = np.zeros(4, np.int64)  # taken, late, stale, resets

    @classmethod
    def empty(cls, series: int, fine: int, medium: int, coarse: int) -> "Cells":
        """Windows without samples, of the given capacities."""
        return cls(*(np.full((series, c), np.nan, np.float32) for c in (fine, medium, coarse)))

    @classmethod
    def untouched(cls, series: int, fine: int, medium: int, coarse: int) -> "Cells":
        """Windows whose memory is not used yet: `clear` each row before its first sample."""
        return cls(*(np.empty((series, c), np.float32) for c in (fine, medium, coarse)))

    def clear(self, row: int) -> None:
        """Make a row one without samples."""
        self.fine[row], self.medium[row], self.coarse[row] = np.nan, np.nan, np.nan
        self.fine_base[row] = self.medium_base[row] = self.coarse_base[row] = self.first[row] = self.counts[row] = 0
        self.head[row] = self.ended[row] = self.last_cell[row] = -1
        self.last_raw[row] = self.last_value[row] = self.earlier[row] = np.nan
        self.last_time[row] = np.iinfo(np.int64).min // 2

    def put(
        self, rows: NDArray[np.int32], times: I64, values: NDArray[np.float64], kinds: NDArray[np.int8], step_ns: int
    ) -> None:
        """Put samples (in time order within a series) into their cells; kinds is int8 [S]."""
        put_samples(
            rows, times, values, kinds, step_ns,
            self.fine, self.fine_base, self.medium, self.medium_base, self.coarse, self.coarse_base,
            self.head, self.first, self.counts, self.last_time, self.last_raw, self.last_value, self.last_cell,
            self.earlier, self.ended, self.tallies,
        )  # fmt: skip


def limits_grid(grid: F32, series: Sequence[Series]) -> F32:
    """The limit of each series at each cell, float32 [S, cells]: the last that was told, NaN before and without one."""
    limits = np.full_like(grid, np.nan)
    for target, source in limit_pairs(series).items():
        limits[target] = _forward_fill(grid[source])
    return limits


def _forward_fill(cells: F32) -> F32:
    known = np.maximum.accumulate(np.where(np.isnan(cells), -1, np.arange(len(cells))))
    return np.where(known >= 0, cells[np.maximum(known, 0)], np.nan).astype(np.float32)

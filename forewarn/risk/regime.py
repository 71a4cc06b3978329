"""New regimes: restarts of an entity, the levels that step up with one, and windows re-read as if they always had.

A level that stepped is not a trend. Where a limited signal steps up with a restart of its entity (a deploy, as a rule),
nothing is said about it for SILENT_STEPS, and what came before is moved onto the new level: slopes over the step
and yesterday's level say nothing then. Levels that fall with a restart are left as they are: what a restart gives back
is what a leak took. If the level returns, so does the old baseline.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import COARSE_STEPS, FINE_CELLS, HORIZON_STEPS, WEEK_COARSE
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.telemetry.samples import Kind, Series

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
B = NDArray[np.bool_]

SILENT_STEPS = 30
LOOP_RESTARTS, LOOP_STEPS = 3, 60  # so many restarts in so many steps are a crash loop
_UPTIME = re.compile(r"(^|[._])uptime([._](in[._])?seconds)?$")
_STARTED = re.compile(r"(^|[._])(start|boot)[._]time([._]seconds)?$")
_SETTLE, _LEVEL, _BEFORE, _JUDGED = 3, 12, 30, 30  # cells after a restart, of its level, before it, until it is judged
_SPREADS, _SHARE = 5 * 1.4826, 0.03  # a step is more than so many median deviations and this share of the limit
_NEAR = 0.9  # of the limit; what is so close is never silent
_BACK_CELLS, _LINE_CELLS, _SAME_RESTART = 10, 10, 2
_LINE_STEPS, _HORIZON = 60, HORIZON_STEPS[-2]  # of the line since a step, and how far it is followed
_KEPT_STEPS = (WEEK_COARSE + 32) * COARSE_STEPS


@dataclass(frozen=True, slots=True)
class Shift:
    """A level that stepped from `old` by `by` in cell `cell`; `back` the cell in which it returned, -1: not yet."""

    cell: int
    old: float
    by: float
    band: float
    share: float  # of the limit
    back: int = -1
    loud: bool = False  # not to be silent about, whatever comes


def restarts(uptime: F32, started: F32) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns at which an uptime (float32 [U, N]) fell or a start time ([V, N], rows U to U + V) changed."""
    fell = [_against_last(uptime, lambda now, last: now < 0.9 * last)]
    fell += [_against_last(started, lambda now, last: np.abs(now - last) > 1.0)]
    row, column = np.nonzero(np.vstack(fell))
    return row.astype(np.int64), column.astype(np.int64)


def _against_last(cells: F32, differs: Callable[[F32, F32], B]) -> B:
    """Where a cell differs from the last one that is not missing."""
    there = ~np.isnan(cells)
    newest = np.maximum.accumulate(np.where(there, np.arange(cells.shape[1]), 0), 1)
    filled = np.take_along_axis(cells, newest, 1)
    out = np.zeros(cells.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        out[:, 1:] = there[:, 1:] & differs(cells[:, 1:], filled[:, :-1])
    return out


def level_steps(before: F32, after: F32, limits: F64) -> tuple[F64, F64, F64]:
    """Old level, rise and band of P signals, each [P]; the rise is 0 where the level did not step up.

    before, after: float32 [P, N] cells around a restart, NaN = missing. Medians are compared, against the spread
    around them and the share of the limit; a signal with less than _SETTLE cells on a side did not step. The rise is
    that from the last cell before to the first after it: what a leak adds on either side is not part of it.
    """
    enough = ((~np.isnan(before)).sum(1) >= 2 * _SETTLE) & ((~np.isnan(after)).sum(1) >= _SETTLE)
    old, new = (np.full(len(before), np.nan) for _ in range(2))
    band = np.full(len(before), np.inf)
    if enough.any():
        old[enough], new[enough] = np.nanmedian(before[enough], 1), np.nanmedian(after[enough], 1)
        spread = np.nanmedian(np.abs(before[enough] - old[enough, None]), 1)
        band[enough] = np.maximum(_SPREADS * spread, _SHARE * limits[enough])
    stepped = enough & (np.nan_to_num(new - old) > band)
    rise = np.zeros(len(before))
    if stepped.any():
        near = before[stepped, -_LEVEL:]
        ends = np.nanmedian(near, 1) + _drift(before[stepped]) * _LEVEL / 2
        rise[stepped] = new[stepped] - _drift(after[stepped]) * _LEVEL / 2 - ends
    return old, np.where(rise > band / 2, rise, 0.0), band


def _drift(cells: F32) -> F64:
    """Slope a cell of P signals, from the medians of both halves: [P]; 0 where a half has less than _SETTLE cells."""
    half = cells.shape[1] // 2
    known = np.minimum((~np.isnan(cells[:, :half])).sum(1), (~np.isnan(cells[:, -half:])).sum(1)) >= _SETTLE
    slope = np.zeros(len(cells))
    if known.any():
        slope[known] = (np.nanmedian(cells[known, -half:], 1) - np.nanmedian(cells[known, :half], 1)) / half
    return slope


def steps_left(cells: F32, limits: F64) -> F64:
    """Steps until the line through the medians of both halves reaches the limit, of K signals: float64 [K].

    cells: float32 [K, N], NaN = missing; inf where a line does not surely rise.
    """
    there = ~np.isnan(cells)
    count, order = there.sum(1), there.cumsum(1)
    out = np.full(len(cells), np.inf)
    k = np.flatnonzero(count >= _LINE_CELLS)
    if not len(k):
        return out
    half = (count[k] // 2)[:, None]
    early = np.where(there[k] & (order[k] <= half), cells[k], np.nan)
    late = np.where(there[k] & (order[k] > count[k, None] - half), cells[k], np.nan)
    top = np.nanmedian(late, 1).astype(np.float64)
    rise = top - np.nanmedian(early, 1)
    noise = 1.4826 * _spread_of_neighbours(cells[k]) / np.sqrt(half[:, 0])
    sure = rise > np.maximum(3 * noise, 1e-3 * limits[k])
    left = (limits[k] - top - rise / 2) * (count[k] / 2) / np.where(sure, rise, 1.0)
    out[k] = np.where(sure, left, np.inf)
    return out


def _spread_of_neighbours(cells: F32) -> F64:
    """Median of how much neighbouring cells differ: [K]; 0 where no two neighbours are there."""
    steps = np.abs(np.diff(cells, axis=1))
    known = (~np.isnan(steps)).any(1)
    spread = np.zeros(len(cells))
    if known.any():
        spread[known] = np.nanmedian(steps[known], 1)
    return spread


def returned(cells: F32, shifts: list[Shift], end: int) -> B:
    """Whether the level of each of K signals is back in its old band: bool [K]. cells: float32 [K, N] before `end`."""
    recent = cells[:, -_BACK_CELLS:]
    old, allowed = (np.array(v) for v in ([s.old for s in shifts], [min(s.band, s.by / 2) for s in shifts]))
    since = end - np.array([s.cell for s in shifts])
    there = ((~np.isnan(recent)).sum(1) >= _BACK_CELLS // 2) & (since > _BACK_CELLS)
    out = np.zeros(len(shifts), np.bool_)
    if there.any():
        out[there] = np.abs(np.nanmedian(recent[there], 1) - old[there]) <= allowed[there]
    return out


def _back(cells: F32, shift: Shift, end: int) -> int:
    """The cell from which on the level was back."""
    high = np.flatnonzero(cells > shift.old + shift.by / 2)
    first = end - len(cells)
    return max(first + int(high[-1]) + 1 if len(high) else end - _BACK_CELLS, shift.cell + 1)


class Regimes:
    """Restarts and shifted levels of the series of one namespace."""

    def __init__(self, windows: WindowStore) -> None:
        self._windows = windows
        self._restarts: dict[str, list[int]] = {}  # cells, by entity
        self._pending: list[tuple[str, int]] = []  # restarts after which levels are still being judged
        self._shifts: dict[Series, list[Shift]] = {}
        self._looked = -1  # restarts were looked for in all cells before it
        self._known: tuple[int, NDArray[np.int64], int] = (-1, np.empty(0, np.int64), 0)

    def look(self, seen: Snapshot, end: int) -> Snapshot:
        """Take note of what restarted and stepped before cell `end`; the snapshot with such windows re-read."""
        self._find_restarts(end)
        if self._pending:
            self._judge(seen, end)
        if not self._shifts:
            return seen
        self._look_back(end)
        return self.read(seen, end)

    def read(self, seen: Snapshot, end: int) -> Snapshot:
        """The snapshot of a moment with what came before each known step moved onto the level after it."""
        at: list[int] = []
        moves: list[tuple[int, int, int, float]] = []
        stepped = [(i, own) for i, shifts in self._shifted(seen) if (own := [s for s in shifts if s.cell < end])]
        left = self._left(seen, [i for i, _ in stepped], [own[-1] for _, own in stepped], end)
        for (i, own), steps in zip(stepped, left.tolist(), strict=True):
            if steps <= _HORIZON:
                continue  # it rises since: nothing that speaks for a failure is taken away
            moves += [(len(at), s.cell, s.back, -s.by) if s.back >= 0 else (len(at), 0, s.cell, s.by) for s in own]
            at.append(i)
        if not at:
            return seen
        features = seen.features.copy()
        features[at] = self._windows.moved_features(seen.rows[at], end, seen.limits[at], moves)
        return replace(seen, features=features)

    def _shifted(self, seen: Snapshot) -> list[tuple[int, list[Shift]]]:
        """Positions in the snapshot of signals whose level stepped, and the steps."""
        if not self._shifts:
            return []
        position = np.full(len(self._windows.series), -1, np.int64)
        position[seen.rows] = np.arange(len(seen.rows))
        found = [(self._windows.row(series), shifts) for series, shifts in self._shifts.items()]
        return [(int(position[row]), shifts) for row, shifts in found if row >= 0 and position[row] >= 0]

    def silent(self, seen: Snapshot, end: int, active: B) -> B:
        """Rows of which nothing is to be said because their level just stepped: bool [R].

        Never one of which something was said (active: bool [R]) or that is near its limit, nor one whose line since
        the step alone leads there within the horizon; nor is it silent again after such a moment.
        """
        found = np.zeros(len(seen.rows), np.bool_)
        fresh = [
            (i, shifts)
            for i, shifts in self._shifted(seen)
            if shifts[-1].back < 0 and end <= shifts[-1].cell + SILENT_STEPS and not shifts[-1].loud
        ]
        left = self._left(seen, [i for i, _ in fresh], [shifts[-1] for _, shifts in fresh], end)
        for (i, shifts), steps in zip(fresh, left.tolist(), strict=True):
            near = not seen.values[i] < _NEAR * seen.limits[i]
            found[i] = not (active[i] or near or steps <= _HORIZON)
            if not found[i]:
                shifts[-1] = replace(shifts[-1], loud=True)
        return found

    def _left(self, seen: Snapshot, at: list[int], shifts: list[Shift], end: int) -> F64:
        """Steps until signals reach their limits by their lines since they stepped (at most the last hour of steps)."""
        cells = self._windows.history(seen.rows[at], end, _LINE_STEPS)
        since = np.array([s.cell if s.back < 0 else end for s in shifts], np.int64) - (end - _LINE_STEPS)
        cells[np.arange(_LINE_STEPS) <= since[:, None]] = np.nan
        return steps_left(cells, seen.limits[at])

    def looping(self, seen: Snapshot, end: int) -> B:
        """Rows whose entity restarted LOOP_RESTARTS times within LOOP_STEPS: bool [R]."""
        entities = {e for e in self._restarts if self.count(e, end) >= LOOP_RESTARTS}
        if not entities:
            return np.zeros(len(seen.rows), np.bool_)
        return np.array([self._windows.series[row].entity in entities for row in seen.rows.tolist()], np.bool_)

    def count(self, entity: str, end: int) -> int:
        """Restarts of an entity in the last LOOP_STEPS."""
        return sum(end - LOOP_STEPS <= cell < end for cell in self._restarts.get(entity, ()))

    def newest(self, series: Series) -> Shift | None:
        """The last step of a signal's level, None where there is none."""
        shifts = self._shifts.get(series)
        return shifts[-1] if shifts else None

    def _find_restarts(self, end: int) -> None:
        rows, uptimes = self._evidence()
        if len(rows) and end > self._looked:
            span = FINE_CELLS if self._looked < 0 else min(end - self._looked + _BEFORE // 5, FINE_CELLS)
            cells = self._windows.history(rows, end, span)
            for row, column in zip(*restarts(cells[:uptimes], cells[uptimes:]), strict=True):
                self._restarted(self._windows.series[int(rows[row])].entity, int(end - span + column))
        self._looked = max(end, self._looked)
        for entity, cells_of in list(self._restarts.items()):
            self._restarts[entity] = [c for c in cells_of if c >= end - FINE_CELLS]
            if not self._restarts[entity]:
                del self._restarts[entity]

    def _restarted(self, entity: str, cell: int) -> None:
        known = self._restarts.setdefault(entity, [])
        if all(abs(cell - other) > _SAME_RESTART for other in known):
            known.append(cell)
            self._pending.append((entity, cell))

    def _evidence(self) -> tuple[NDArray[np.int64], int]:
        """Rows of uptimes, then of start times, and how many of the rows are uptimes."""
        series, version = self._windows.series, self._windows.version
        if self._known[0] != version:
            gauges = [(r, s.signal) for r, s in enumerate(series) if s.kind != Kind.CUMULATIVE]
            uptimes = [r for r, signal in gauges if _UPTIME.search(signal)]
            started = [r for r, signal in gauges if _STARTED.search(signal)]
            self._known = version, np.array(uptimes + started, np.int64), len(uptimes)
        return self._known[1], self._known[2]

    def _judge(self, seen: Snapshot, end: int) -> None:
        """Compare the levels of the limited signals of whatever restarted, before and after."""
        position = dict(zip(seen.rows.tolist(), range(len(seen.rows)), strict=True))
        due = [(e, c) for e, c in self._pending if end - c > _SETTLE]
        pairs = [(position[r], c) for e, c in due for r in self._windows.entity_rows.get(e, ()) if r in position]
        self._pending = [(e, c) for e, c in self._pending if end - c <= _JUDGED]
        if not pairs:
            return
        at, cell = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        rows, limits = seen.rows[at], seen.limits[at]
        before, after = self._around(rows, cell, end)
        old, by, band = level_steps(before, after, limits)
        for k in np.flatnonzero((by > 0) & (limits > 0)).tolist():
            shift = Shift(int(cell[k]), float(old[k]), float(by[k]), float(band[k]), float(by[k] / limits[k]))
            self._remember(self._windows.series[int(rows[k])], shift)

    def _around(self, rows: NDArray[np.int64], cell: NDArray[np.int64], end: int) -> tuple[F32, F32]:
        """Cells before and after a restart in `cell` (left out itself), none of `end` or later."""
        span = int(end - cell.min()) + _BEFORE + 2
        cells = self._windows.history(rows, end, span)
        first = (cell - (end - span))[:, None]
        before = np.take_along_axis(cells, first - 1 - _BEFORE + np.arange(_BEFORE), 1)
        columns = first + 1 + np.arange(_LEVEL)
        after = np.take_along_axis(cells, np.minimum(columns, span - 1), 1)
        return before, np.where(columns < span, after, np.nan).astype(np.float32)

    def _remember(self, series: Series, shift: Shift) -> None:
        known = self._shifts.setdefault(series, [])
        if all(s.cell != shift.cell for s in known):
            known.append(shift)
            known.sort(key=lambda s: s.cell)
            return
        better = [replace(shift, loud=s.loud) if s.cell == shift.cell and s.back < 0 else s for s in known]
        self._shifts[series] = better

    def _look_back(self, end: int) -> None:
        """Which levels returned into their old band; forget what left the windows."""
        for series, shifts in list(self._shifts.items()):
            self._shifts[series] = [s for s in shifts if s.cell >= end - _KEPT_STEPS]
            if not self._shifts[series] or self._windows.row(series) < 0:
                del self._shifts[series]
        last = [shifts for shifts in self._shifts.values() if shifts[-1].back < 0]
        rows = [self._windows.row(series) for series, shifts in self._shifts.items() if shifts[-1].back < 0]
        cells = self._windows.history(np.array(rows, np.int64), end, 2 * _BACK_CELLS)
        for k in np.flatnonzero(returned(cells, [shifts[-1] for shifts in last], end)).tolist():
            last[k][-1] = replace(last[k][-1], back=_back(cells[k], last[k][-1], end))

"""Windows of a stream: samples in, features of any moment out. One store for each namespace (event clock)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.context import Context, add_context, context_of
from forewarn.features.definitions import (
    COARSE_CELLS,
    COARSE_STEPS,
    FEATURE_COUNT,
    FINE_CELLS,
    MEDIUM_CELLS,
    MEDIUM_STEPS,
)
from forewarn.features.grid import Cells
from forewarn.features.kernel import features_kernel
from forewarn.features.series_budget import SeriesBudget
from forewarn.features.windows_kernel import OPEN_CELLS, advance_rows, known_before, trailing_means
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.samples import SampleBatch, Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_ENDED_CELLS, _SILENT_CELLS, _ROOM_EVERY_CELLS = 60, FINE_CELLS, 15
_ROWS_KEPT = 2_000_000  # rows of remembered sets of series in all
_FINE, _MEDIUM, _COARSE = FINE_CELLS + OPEN_CELLS + 24, MEDIUM_CELLS + 24, COARSE_CELLS + 48


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Limited series of a namespace at one moment.

    rows: int64 [R] (see `WindowStore.series`); features: float64 [R, F]; values, limits: float64 [R], values NaN
    where nothing came in the last five cells or the series has ended; ages: steps since each series began.
    """

    rows: I64
    features: F64
    values: F64
    limits: F64
    ages: I64


class WindowStore:
    """Windows of the series of one namespace."""

    def __init__(self, step_seconds: float, budget: SeriesBudget | None = None) -> None:
        self.step_ns = int(step_seconds * 1e9)
        self.budget = budget or SeriesBudget()
        self.reused: set[int] = set()  # rows that became another series'; whoever keeps state by row clears this
        self._free: list[int] = []
        self._refused_before, self._room_made = 0, 0  # refusals of the budget, and the cell, when room was last made
        self.series: list[Series] = []
        self.version = 0  # of `series`: another number after every change
        self.newest_ns = -1  # newest event time seen of what moves the clock
        self.entity_rows: dict[str, list[int]] = {}  # rows of each entity's series
        self._row_of: dict[Series, int] = {}
        self._rows_of: dict[int, tuple[tuple[Series, ...], NDArray[np.int32]]] = {}  # by id of the tuple, held here
        self._rows_kept = 0
        self._cells = Cells.empty(0, _FINE, _MEDIUM, _COARSE)
        self._kinds = np.zeros(0, np.int8)
        self._limited, self._limit_row = np.empty(0, np.int64), np.empty(0, np.int64)
        self._context: Context = context_of([])
        self._linked = 0  # series whose limits and roles are known

    @property
    def tallies(self) -> dict[str, int]:
        """Samples taken and late, stale markers and counter resets so far."""
        taken, late, stale, resets = (int(n) for n in self._cells.tallies)
        return {"samples": taken, "late": late, "stale": stale, "resets": resets}

    def put(self, batch: SampleBatch, clock: bool = True) -> None:
        """Take a batch; samples of a series must come in time order, late ones within OPEN_CELLS cells.

        clock: whether its times move `newest_ns`.
        """
        if not len(batch):
            return
        rows = self._rows(batch.series)[batch.index]
        times, values = batch.times, batch.values
        if (rows < 0).any():  # there was no room for their series
            kept = rows >= 0
            rows, times, values = rows[kept], times[kept], values[kept]
        self._cells.put(rows, times, values, self._kinds, self.step_ns)
        if clock:
            self.newest_ns = max(self.newest_ns, int(batch.times.max()))

    def _rows(self, series: tuple[Series, ...]) -> NDArray[np.int32]:
        """Rows of the series. The decoder gives the same tuple for the same series: it is looked up by identity."""
        known = self._rows_of.get(id(series))
        if known is not None:
            return known[1]
        rows = np.array([self._row(s) for s in series], np.int32)
        if (rows < 0).any():
            return rows  # asked again with the next message: there may be room then
        if self._rows_kept > _ROWS_KEPT:
            self._rows_of.clear()
            self._rows_kept = 0
        self._rows_of[id(series)] = series, rows
        self._rows_kept += len(rows)
        return rows

    def _row(self, series: Series) -> int:
        row = self._row_of.get(series)
        if row is None:
            if not self.budget.admit(series):
                return -1
            row = self._row_of[series] = self._new_row(series)
            self.entity_rows.setdefault(series.entity, []).append(row)
            self._cells.clear(row)
            self._kinds[row] = series.kind
            self.version += 1
        return row

    def _new_row(self, series: Series) -> int:
        if self._free:
            row = self._free.pop()
            self.series[row] = series
            self.reused.add(row)
            self._linked = -1
            return row
        row = len(self.series)
        self.series.append(series)
        if row >= len(self._kinds):
            self._grow(max(64, 2 * row))
        return row

    def _make_room(self, end: int) -> None:
        """Where series were refused: forget those that ended an hour of cells ago, or were silent for _SILENT_CELLS."""
        if self.budget.refused == self._refused_before or end < self._room_made + _ROOM_EVERY_CELLS:
            return
        self._refused_before, self._room_made = self.budget.refused, end
        c, count = self._cells, len(self.series)
        gone = ((c.ended[:count] >= 0) & (c.ended[:count] < end - _ENDED_CELLS)) | (
            self._last_cells() < end - _SILENT_CELLS
        )
        free = set(self._free)
        for row in np.flatnonzero(gone).tolist():
            if row not in free:
                self._forget(row)

    def _last_cells(self) -> I64:
        """Cell of the newest sample of each series; 0 where none is left in the windows."""
        fine, base = self._cells.fine[: len(self.series)], self._cells.fine_base[: len(self.series)]
        there = ~np.isnan(fine)
        last: I64 = np.where(there.any(1), base + fine.shape[1] - 1 - there[:, ::-1].argmax(1), 0)
        return last

    def _forget(self, row: int) -> None:
        series = self.series[row]
        del self._row_of[series]
        self.entity_rows[series.entity].remove(row)
        if not self.entity_rows[series.entity]:
            del self.entity_rows[series.entity]
        self.budget.release(series.entity)
        self._cells.clear(row)
        self.series[row] = Series("", "", (("row", str(row)),))  # nobody's, until the row is taken again
        self._free.append(row)
        self._linked = -1
        self._rows_of.clear()
        self._rows_kept = 0

    def _grow(self, capacity: int) -> None:
        old, new = self._cells, Cells.untouched(capacity, _FINE, _MEDIUM, _COARSE)
        for name, array in vars(old).items():
            if name == "tallies":
                new.tallies = array
            else:
                getattr(new, name)[: len(array)] = array
        self._cells = new
        self._kinds = np.concatenate([self._kinds, np.zeros(capacity - len(self._kinds), np.int8)])

    def _link(self) -> None:
        if self._linked != len(self.series):
            pairs = limit_pairs(self.series)
            self._limited = np.fromiter(pairs, np.int64, len(pairs))
            self._limit_row = np.fromiter(pairs.values(), np.int64, len(pairs))
            self._context = context_of(self.series)
            self._linked = len(self.series)

    def close_cells(self, end: int) -> None:
        """Cells before `end` are complete for every series: what is missing now stays missing."""
        c = self._cells
        rows = np.arange(len(self.series))
        advance_rows(
            c.fine, c.fine_base, c.medium, c.medium_base, c.coarse, c.coarse_base, c.head, c.counts, rows, end
        )  # fmt: skip

    def snapshot(self, end: int) -> Snapshot:
        """Features of all limited series at the start of cell `end`, of the cells before it; closes those cells."""
        self._make_room(end)
        self._link()
        self.close_cells(end)
        begun = self._begun(self._limited, end)
        rows = self._limited[begun]
        limits = self.known_before(self._limit_row[begun], end)
        features = self._features(rows, end, limits)
        context = self._context
        self._add_roles(features, rows, end, context)
        return Snapshot(rows, features, self._latest(rows, end), limits, end - self._cells.first[rows])

    def _begun(self, rows: I64, end: int) -> NDArray[np.bool_]:
        """Which rows had a sample before `end`; one whose first samples are stale markers has none."""
        first = self._cells.first[rows]
        begun: NDArray[np.bool_] = (first > 0) & (first < end)
        return begun

    def known_before(self, rows: I64, end: int) -> F64:
        """The newest value of each row before cell `end`, however long ago: float64 [R], NaN where there is none."""
        out, c = np.empty(len(rows)), self._cells
        known_before(c.fine, c.fine_base, c.last_value, c.last_cell, c.earlier, rows, end, out)
        return out

    def _features(self, rows: I64, end: int, limits: F64) -> F64:
        c = self._cells
        out = np.empty((len(rows), FEATURE_COUNT))
        fine_end = end - c.fine_base[rows]
        medium_end, coarse_end = end // MEDIUM_STEPS - c.medium_base[rows], end // COARSE_STEPS - c.coarse_base[rows]
        ages = np.maximum(end - c.first[rows], 0)
        features_kernel(c.fine, c.medium, c.coarse, rows, fine_end, medium_end, coarse_end, limits, ages, out)
        return out

    def moved_features(self, rows: I64, end: int, limits: F64, moves: Sequence[tuple[int, int, int, float]]) -> F64:
        """Features as if cells had been elsewhere: float64 [R, F].

        moves, in the order of rows: (position in rows, first cell, cell after the last, what is added to the values).
        Nothing that was below its limit is moved to it.
        """
        c = self._cells
        at = np.array([move[0] for move in moves], np.int64)
        turns = np.arange(len(at)) - np.searchsorted(at, at)
        start, stop, by = (np.array([move[k] for move in moves])[:, None] for k in (1, 2, 3))
        windows = []
        for cells, base, width in (
            (c.fine, c.fine_base, 1), (c.medium, c.medium_base, MEDIUM_STEPS), (c.coarse, c.coarse_base, COARSE_STEPS)
        ):  # fmt: skip
            first = ((base[rows])[:, None] + np.arange(cells.shape[1])) * width
            share = np.clip((stop - first[at]) / width, 0, 1) - np.clip((start - first[at]) / width, 0, 1)
            moved = np.zeros(first.shape)
            for turn in range(int(turns.max()) + 1):  # the first move of every row, the second …
                own = turns == turn
                moved[at[own]] += (share * by)[own]
            copied = cells[rows]
            top = np.maximum(copied, 0.99 * limits[:, None])
            copied = np.where(moved > 0, np.minimum(copied + moved, top), copied + moved).astype(np.float32)
            windows.append((copied, end // width - base[rows]))
        (fine, fine_end), (medium, medium_end), (coarse, coarse_end) = windows
        out = np.empty((len(rows), FEATURE_COUNT))
        own, ages = np.arange(len(rows)), np.maximum(end - c.first[rows], 0)
        features_kernel(fine, medium, coarse, own, fine_end, medium_end, coarse_end, limits, ages, out)
        self._add_roles(out, rows, end, self._context)
        return out

    def smoothed_features(self, rows: I64, end: int, limits: F64, width: int) -> F64:
        """Features [R, F] of trailing means over `width` cells: of rates of few events, which are mostly chance.

        A row may come more than once, with another limit each time. Roles are left out.
        """
        c = self._cells
        distinct, again = np.unique(rows, return_inverse=True)
        kinds = (
            (c.fine, c.fine_base, 1), (c.medium, c.medium_base, MEDIUM_STEPS), (c.coarse, c.coarse_base, COARSE_STEPS)
        )  # fmt: skip
        windows = [
            (trailing_means(cells[distinct], -(-width // step))[again], end // step - base[rows])
            for cells, base, step in kinds
        ]
        (fine, fine_end), (medium, medium_end), (coarse, coarse_end) = windows
        out = np.empty((len(rows), FEATURE_COUNT))
        own, ages = np.arange(len(rows)), np.maximum(end - c.first[rows], 0)
        features_kernel(fine, medium, coarse, own, fine_end, medium_end, coarse_end, limits, ages, out)
        return out

    def row(self, series: Series) -> int:
        """Row of a series, -1 where it has none."""
        return self._row_of.get(series, -1)

    def roles(self, row: int) -> tuple[Series | None, Series | None, Series | None]:
        """The series that tell load, errors and latency of a row's entity, None where there is none."""
        of = (self._context.load, self._context.errors, self._context.latency)
        found = [int(role[row]) if row < len(role) else -1 for role in of]
        load, errors, latency = (self.series[i] if i >= 0 else None for i in found)
        return load, errors, latency

    def _add_roles(self, features: F64, rows: I64, end: int, context: Context) -> None:
        blocks = []
        for role, limit in ((context.load, np.nan), (context.errors, 1.0), (context.latency, np.nan)):
            wanted = role[rows] if len(rows) else np.empty(0, np.int64)
            distinct, inverse = np.unique(wanted, return_inverse=True)
            block = np.full((len(distinct), FEATURE_COUNT), np.nan)
            there = (distinct >= 0) & self._begun(distinct, end)
            block[there] = self._features(distinct[there], end, np.full(there.sum(), limit))
            blocks.append(block[inverse])
        add_context(features, np.arange(len(rows)), *blocks)

    def _latest(self, rows: I64, end: int) -> F64:
        recent = self.history(rows, end, 5)
        there = ~np.isnan(recent)
        last = np.where(there.any(1), 4 - there[:, ::-1].argmax(1), 0)
        values = recent[np.arange(len(rows)), last].astype(np.float64)
        ended = self._cells.ended[rows]
        return np.where((ended >= 0) & (ended < end), np.nan, values)

    def history(self, rows: I64, end: int, count: int) -> NDArray[np.float32]:
        """The last `count` fine cells before `end`: float32 [R, count], NaN = missing or out of the window."""
        columns = end - count - self._cells.fine_base[rows][:, None] + np.arange(count)
        inside = (columns >= 0) & (columns < self._cells.fine.shape[1])
        cells = self._cells.fine[rows[:, None], np.where(inside, columns, 0)]
        return np.where(inside, cells, np.nan).astype(np.float32)

    def medium_history(self, rows: I64, end: int) -> NDArray[np.float32]:
        """The last day in medium cells before `end`: float32 [R, MEDIUM_CELLS]."""
        columns = end // MEDIUM_STEPS - MEDIUM_CELLS - self._cells.medium_base[rows][:, None] + np.arange(MEDIUM_CELLS)
        inside = (columns >= 0) & (columns < self._cells.medium.shape[1])
        cells = self._cells.medium[rows[:, None], np.where(inside, columns, 0)]
        return np.where(inside, cells, np.nan).astype(np.float32)

    def release(self) -> None:
        """Give back the room of all series: these windows are used no more."""
        for series in self._row_of:
            self.budget.release(series.entity)
        self._row_of.clear()

    def nbytes(self) -> int:
        """Memory of the windows in use; room for rows to come takes none before they are used."""
        return sum(a.nbytes // max(len(a), 1) * len(self.series) for a in vars(self._cells).values())

"""Compiled loops that put samples into window cells; the same for the stream and for history."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from forewarn.features.definitions import COARSE_STEPS, MEDIUM_STEPS
from forewarn.telemetry.samples import Kind

OPEN_CELLS = 64  # cells of a series that late samples may still change
_GAUGE, _CUMULATIVE = int(Kind.GAUGE), int(Kind.CUMULATIVE)

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@njit(cache=True)
def block_mean(cells: F32, start: int, stop: int) -> float:
    """Mean of cells[start:stop] that are not missing; NaN where all are."""
    total, count = 0.0, 0
    for i in range(max(start, 0), stop):
        if not np.isnan(cells[i]):
            total += cells[i]
            count += 1
    return total / count if count else np.nan


@njit(cache=True)
def trailing_means(cells: F32, width: int) -> F32:
    """Means of the last `width` cells at each cell: float32 [R, N]; NaN where the cell itself is missing.

    Each is summed by itself: the same cells give the same mean wherever they stand in the window.
    """
    means = np.full(cells.shape, np.nan, np.float32)
    for r in range(cells.shape[0]):
        for i in range(cells.shape[1]):
            if not np.isnan(cells[r, i]):
                means[r, i] = block_mean(cells[r], i + 1 - width, i + 1)
    return means


@njit(cache=True)
def _make_room(cells: F32, base: I64, row: int, cell: int, keep: int) -> None:
    """Shift a row to the left until `cell` fits; the last `keep` cells before it stay."""
    capacity = cells.shape[1]
    shift = cell - keep + 1 - base[row]
    if shift >= capacity:
        cells[row, :] = np.nan
    else:
        cells[row, : capacity - shift] = cells[row, shift:].copy()
        cells[row, capacity - shift :] = np.nan
    base[row] += shift


@njit(cache=True)
def _put_blocks(fine: F32, fine_base: I64, blocks: F32, block_base: I64, row: int, width: int, cell: int) -> None:
    """Write the block that holds `cell` into the medium or coarse window."""
    block = cell // width
    if block - block_base[row] >= blocks.shape[1]:
        _make_room(blocks, block_base, row, block, blocks.shape[1] - blocks.shape[1] // 16)
    column = block - block_base[row]
    if column >= 0:
        start = block * width - fine_base[row]
        blocks[row, column] = block_mean(fine[row], start, min(start + width, fine.shape[1]))


@njit(cache=True)
def advance(
    fine: F32,
    fine_base: I64,
    medium: F32,
    medium_base: I64,
    coarse: F32,
    coarse_base: I64,
    head: I64,
    row: int,
    to: int,
) -> None:
    """Move a row's newest cell to `to`; cells between are missing, blocks that end before it are complete."""
    old = head[row]
    first = max(old, to - fine.shape[1])
    for end in range((first // MEDIUM_STEPS + 1) * MEDIUM_STEPS, to + 1, MEDIUM_STEPS):
        _put_blocks(fine, fine_base, medium, medium_base, row, MEDIUM_STEPS, end - 1)
    for end in range((first // COARSE_STEPS + 1) * COARSE_STEPS, to + 1, COARSE_STEPS):
        _put_blocks(fine, fine_base, coarse, coarse_base, row, COARSE_STEPS, end - 1)
    if to - fine_base[row] >= fine.shape[1]:
        _make_room(fine, fine_base, row, to, fine.shape[1] - fine.shape[1] // 8)
    head[row] = to


@njit(cache=True)
def put_samples(
    rows: NDArray[np.int32],
    times: I64,
    values: F64,
    kinds: NDArray[np.int8],
    step_ns: int,
    fine: F32,
    fine_base: I64,
    medium: F32,
    medium_base: I64,
    coarse: F32,
    coarse_base: I64,
    head: I64,
    first: I64,
    counts: NDArray[np.uint16],
    last_time: I64,
    last_raw: F64,
    last_value: F64,
    last_cell: I64,
    earlier: F64,
    ended: I64,
    tallies: I64,
) -> None:
    """Put n samples into the cells of their rows.

    A cell is the mean of its samples. Counters become rates per second; a fall of a cumulative counter is a
    reset: the rate since then is unknown and the cell gets nothing from that sample. A NaN says that the series has
    ended: `ended` [S] is the cell of it until another sample comes, else -1.
    tallies [4] counts: taken, late (older than OPEN_CELLS cells), stale markers, counter resets.
    """
    for i in range(len(times)):
        row, time, value = rows[i], times[i], values[i]
        if np.isnan(value):
            tallies[2] += 1
            last_raw[row] = np.nan
            ended[row] = max(ended[row], time // step_ns)
            continue
        if ended[row] <= time // step_ns:
            ended[row] = -1
        if kinds[row] != _GAUGE:
            elapsed = (time - last_time[row]) / 1e9
            raw, previous = value, last_raw[row]
            if elapsed <= 0:
                tallies[1] += 1
                continue
            last_raw[row], last_time[row] = raw, time
            if np.isnan(previous):
                continue
            if kinds[row] == _CUMULATIVE:
                if raw < previous:
                    tallies[3] += 1
                    continue
                value = (raw - previous) / elapsed
            else:
                value = raw / elapsed
        cell = time // step_ns
        if head[row] < 0:
            head[row] = cell
            first[row] = cell
            fine_base[row] = (cell // COARSE_STEPS) * COARSE_STEPS
            medium_base[row] = fine_base[row] // MEDIUM_STEPS
            coarse_base[row] = fine_base[row] // COARSE_STEPS
        if cell > head[row]:
            for open_cell in range(max(head[row] + 1, cell - OPEN_CELLS + 1), cell + 1):
                counts[row, open_cell % OPEN_CELLS] = 0
            advance(fine, fine_base, medium, medium_base, coarse, coarse_base, head, row, cell)
        column = cell - fine_base[row]
        if head[row] - cell >= OPEN_CELLS or column < 0:
            tallies[1] += 1
            continue
        slot = cell % OPEN_CELLS
        count = counts[row, slot]
        fine[row, column] = value if count == 0 else fine[row, column] + (value - fine[row, column]) / (count + 1)
        counts[row, slot] = min(count + 1, 65535)
        tallies[0] += 1
        if cell < head[row]:  # a late sample may change blocks that are complete
            if (cell // MEDIUM_STEPS + 1) * MEDIUM_STEPS <= head[row]:
                _put_blocks(fine, fine_base, medium, medium_base, row, MEDIUM_STEPS, cell)
            if (cell // COARSE_STEPS + 1) * COARSE_STEPS <= head[row]:
                _put_blocks(fine, fine_base, coarse, coarse_base, row, COARSE_STEPS, cell)
        else:
            if cell > last_cell[row]:
                earlier[row], last_cell[row] = last_value[row], cell
            last_value[row] = fine[row, column]


@njit(cache=True)
def advance_rows(
    fine: F32, fine_base: I64, medium: F32, medium_base: I64, coarse: F32, coarse_base: I64, head: I64,
    counts: NDArray[np.uint16], rows: I64, to: int,
) -> None:  # fmt: skip
    """Advance every row that is behind `to`: the missing stretch becomes missing cells."""
    for row in rows:
        if 0 <= head[row] < to:
            for cell in range(max(head[row] + 1, to - OPEN_CELLS + 1), to + 1):
                counts[row, cell % OPEN_CELLS] = 0
            advance(fine, fine_base, medium, medium_base, coarse, coarse_base, head, row, to)


@njit(cache=True)
def known_before(
    fine: F32, fine_base: I64, last_value: F64, last_cell: I64, earlier: F64, rows: I64, end: int, out: F64
) -> None:
    """out [R]: the newest cell of each row before `end`, as history on a grid has it. Where a row was silent for
    longer than its window, what it told last."""
    for i in range(len(rows)):
        row = rows[i]
        column = min(end - fine_base[row], fine.shape[1]) - 1
        while column >= 0 and np.isnan(fine[row, column]):
            column -= 1
        if column >= 0:
            out[i] = fine[row, column]
        else:
            out[i] = last_value[row] if last_cell[row] < end else earlier[row]

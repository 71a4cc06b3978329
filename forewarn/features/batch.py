"""Features of history: many times of many series at once."""

import numpy as np
from numpy.typing import NDArray

from forewarn.features.context import Context, add_context
from forewarn.features.definitions import COARSE_STEPS, FEATURE_COUNT, MEDIUM_STEPS
from forewarn.features.kernel import features_kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def coarsen(grid: F32, width: int) -> F32:
    """Means of blocks of `width` cells that are not missing: float32 [S, C // width]."""
    series, cells = grid.shape
    blocks = grid[:, : cells // width * width].reshape(series, -1, width).astype(np.float64)
    there = ~np.isnan(blocks)
    total = np.zeros(blocks.shape[:2])
    for i in range(width):  # the order of the stream's loop, so that the sums are the same to the last bit
        total += np.where(there[:, :, i], blocks[:, :, i], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / there.sum(2)).astype(np.float32)


def features_at(grid: F32, limits: F32, at: I64, context: Context | None = None) -> F64:
    """Features [S, M, F] of S series at M times; a time `t` sees the cells before it (`grid[:, :t]`) alone.

    grid: float32 [S, C] from `to_grids`, which begins at a coarse block; limits: float32 [S, C];
    at: int64 [M], 1 <= t <= C.
    """
    series, times = len(grid), len(at)
    windows = (np.ascontiguousarray(grid), coarsen(grid, MEDIUM_STEPS), coarsen(grid, COARSE_STEPS))
    there = ~np.isnan(grid)
    first = np.where(there.any(1), there.argmax(1), grid.shape[1])
    rows = np.repeat(np.arange(series), times)
    ends = np.tile(np.asarray(at, np.int64), series)
    known = limits[:, np.maximum(at - 1, 0)].astype(np.float64).ravel()
    ages = ends - first[rows]

    def compute(row_limits: F64) -> F64:
        out = np.empty((len(rows), FEATURE_COUNT))
        features_kernel(
            *windows, rows, ends, ends // MEDIUM_STEPS, ends // COARSE_STEPS, row_limits, np.maximum(ages, 0), out
        )
        return out

    features = compute(known)
    if context is not None:
        free, unit = compute(np.full(len(rows), np.nan)), compute(np.ones(len(rows)))
        nothing = np.full((1, FEATURE_COUNT), np.nan)
        slot = np.tile(np.arange(times), series)

        def own(role: I64) -> I64:
            return np.where(role[rows] >= 0, role[rows] * times + slot, len(rows))

        roles = [(context.load, free), (context.errors, unit), (context.latency, free)]
        load, errors, latency = (np.vstack([block, nothing])[own(role)] for role, block in roles)
        add_context(features, np.arange(len(rows)), load, errors, latency)
    return features.reshape(series, times, FEATURE_COUNT)

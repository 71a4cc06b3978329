"""Features of history: many times of many series at once."""

from collections.abc import Callable

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
    at = np.asarray(at, np.int64)
    windows = (np.ascontiguousarray(grid), coarsen(grid, MEDIUM_STEPS), coarsen(grid, COARSE_STEPS))
    there = ~np.isnan(grid)
    first = np.where(there.any(1), there.argmax(1), grid.shape[1])

    def compute(series: I64, known: F64) -> F64:
        """Features [len(series), M, F] with limits `known` [len(series), M]."""
        rows, ends = np.repeat(series, len(at)), np.tile(at, len(series))
        ages = np.maximum(ends - first[rows], 0)
        out = np.empty((len(rows), FEATURE_COUNT))
        medium, coarse = ends // MEDIUM_STEPS, ends // COARSE_STEPS
        features_kernel(*windows, rows, ends, medium, coarse, known.ravel(), ages, out)
        return out.reshape(len(series), len(at), FEATURE_COUNT)

    features = compute(np.arange(len(grid)), limits[:, np.maximum(at - 1, 0)].astype(np.float64))
    if context is not None:
        roles = ((context.load, np.nan), (context.errors, 1.0), (context.latency, np.nan))
        blocks = [_role(compute, role, limit, len(at)) for role, limit in roles]
        flat = features.reshape(-1, FEATURE_COUNT)
        add_context(flat, np.arange(len(flat)), *(block.reshape(-1, FEATURE_COUNT) for block in blocks))
    return features


def _role(compute: Callable[[I64, F64], F64], role: I64, limit: float, times: int) -> F64:
    """Features [S, M, F] of the role series of each series, NaN where it has none."""
    distinct, inverse = np.unique(role, return_inverse=True)
    block = np.full((len(distinct), times, FEATURE_COUNT), np.nan)
    there = distinct >= 0
    block[there] = compute(distinct[there], np.full((int(there.sum()), times), limit))
    return block[inverse]

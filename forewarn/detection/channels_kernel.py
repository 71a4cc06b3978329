"""Compiled loops that learn and step channels: what `ChannelScale` and `ChannelForecaster` learn, and their errors.

A namespace has hundreds of thousands of channels; arrays of all their memories at once would cost more than the sums.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@njit(cache=True)
def learn_columns(  # pragma: no cover
    X: F64, rates: F64, ridge: float, smoothing: float, furthest: float, clip: float, least: float, most_hold: int,
    folds: int, centre: F64, spread: F64, weights: F64, offset: F64, error: F64, last: F64, after: F64,
    hold: NDArray[np.int16], parts: F64, owner: I64, usual: F64,
) -> None:  # fmt: skip
    """Columns X [C, n] in time order, NaN = missing; the rest is filled, see `channels.Channels`.

    usual [E, n]: to it, at `owner` [C], is added each channel's smoothed squared error in usual errors of other folds.
    """
    count, n = X.shape
    spans = len(rates)
    Z, squares, masked = np.empty(n), np.empty(n), np.empty(n, np.bool_)
    memory, G, g = np.empty(spans), np.empty((spans, spans)), np.empty(spans)
    for c in range(count):
        centre[c], spread[c] = _scale(X[c])
        level = _scaled(X[c], centre[c], spread[c], furthest, Z)
        hold[c] = _mask(X[c], most_hold, masked)
        variance = 0.0
        for t in range(n):
            variance += (Z[t] - level) ** 2
        variance /= n
        penalty = ridge * max(variance, 1e-12)
        for i in range(spans):
            g[i] = penalty if i == 0 else 0.0
            memory[i] = Z[0] - level
            for j in range(spans):
                G[i, j] = penalty if i == j else 0.0
        for t in range(n):
            z = Z[t] - level
            for i in range(spans):
                g[i] += memory[i] * z
                for j in range(i + 1):
                    G[i, j] += memory[i] * memory[j]
            for i in range(spans):
                memory[i] += rates[i] * (z - memory[i])
        _solve(G, g)
        total = 0.0
        for i in range(spans):
            weights[i, c] = g[i]
            total += g[i]
            after[i, c] = memory[i] + level
            memory[i] = Z[0]
        offset[c] = level * (1.0 - total)
        mean = 0.0
        for t in range(n):
            e = Z[t] - offset[c]
            for i in range(spans):
                e -= g[i] * memory[i]
                memory[i] += rates[i] * (Z[t] - memory[i])
            squares[t] = e
            mean += e
        mean /= n
        deviation = 0.0
        for t in range(n):
            deviation += (squares[t] - mean) ** 2
        error[c] = max(np.sqrt(deviation / n), least)
        for t in range(n):
            squares[t] = (squares[t] / error[c]) ** 2
        last[c] = Z[n - 1]
        parts[c] = _smooth(squares, masked, smoothing, clip)
        _add_apart(squares, masked, smoothing, clip, least, folds, usual[owner[c]])


@njit(cache=True)
def step_columns(  # pragma: no cover
    row: F64, rates: F64, smoothing: float, furthest: float, clip: float, most_hold: int, centre: F64, spread: F64,
    weights: F64, offset: F64, error: F64, last: F64, memories: F64, hold: NDArray[np.int16], parts: F64,
) -> None:  # fmt: skip
    """The next value of each channel, row [C], NaN = missing; last, memories, hold and parts are moved on."""
    for c in range(len(row)):
        missing = np.isnan(row[c])
        z = last[c] if missing else min(max((row[c] - centre[c]) / spread[c], -furthest), furthest)
        miss = z - offset[c]
        for i in range(len(rates)):
            miss -= weights[i, c] * memories[i, c]
            memories[i, c] += rates[i] * (z - memories[i, c])
        miss = min(max(miss / error[c], -clip), clip)
        part = 1.0 if missing or hold[c] > 0 else miss * miss
        hold[c] = min(hold[c] + 1, most_hold) if missing else max(hold[c] - 1, 0)
        last[c] = z
        parts[c] += smoothing * (part - parts[c])


@njit(cache=True)
def _scale(x: F64) -> tuple[float, float]:  # pragma: no cover
    """As `ChannelScale.learn`."""
    there, total, low, high = 0, 0.0, np.inf, -np.inf
    for value in x:
        if not np.isnan(value):
            there += 1
            total += value
            low, high = min(low, value), max(high, value)
    centre = total / max(there, 1)
    squares = 0.0
    for value in x:
        if not np.isnan(value):
            squares += (value - centre) ** 2
    spread = np.sqrt(squares / max(there, 1))
    if there:
        spread = max(spread, 1e-3 * (high - low))
    if spread <= 1e-9 * max(abs(centre), 1e-9):
        spread = 1e-2 * (100.0 if centre == 0 else abs(centre))
    return centre, spread


@njit(cache=True)
def _scaled(x: F64, centre: float, spread: float, furthest: float, Z: F64) -> float:  # pragma: no cover
    """Fill Z with what is known in spreads from the centre, carried forward; returns its mean."""
    known, total = 0.0, 0.0
    for t in range(len(x)):
        if not np.isnan(x[t]):
            known = min(max((x[t] - centre) / spread, -furthest), furthest)
        Z[t] = known
        total += known
    return total / len(x)


@njit(cache=True)
def _mask(x: F64, most_hold: int, masked: NDArray[np.bool_]) -> int:  # pragma: no cover
    """Which values count as usual: missing ones and, for as long as a gap was, those after it."""
    hold = 0
    for t in range(len(x)):
        masked[t] = np.isnan(x[t]) or hold > 0
        hold = min(hold + 1, most_hold) if np.isnan(x[t]) else max(hold - 1, 0)
    return hold


@njit(cache=True)
def _solve(G: F64, g: F64) -> None:  # pragma: no cover
    """g becomes the solution w of G w = g, G symmetric and positive definite, its lower half given (Cholesky)."""
    n = len(g)
    for i in range(n):
        for j in range(i + 1):
            total = G[i, j]
            for k in range(j):
                total -= G[i, k] * G[j, k]
            G[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / G[j, j]
    for i in range(n):
        for k in range(i):
            g[i] -= G[i, k] * g[k]
        g[i] /= G[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            g[i] -= G[k, i] * g[k]
        g[i] /= G[i, i]


@njit(cache=True)
def _smooth(squares: F64, masked: NDArray[np.bool_], smoothing: float, clip: float) -> float:  # pragma: no cover
    """The exponential mean of the squares after the last of them."""
    smooth = 0.0
    for t in range(len(squares)):
        part = 1.0 if masked[t] else min(squares[t], clip * clip)
        smooth = part if t == 0 else smooth + smoothing * (part - smooth)
    return smooth


@njit(cache=True)
def _add_apart(
    squares: F64, masked: NDArray[np.bool_], smoothing: float, clip: float, least: float, folds: int, usual: F64
) -> None:  # pragma: no cover
    """Add to usual [n] the exponential mean of the squares, each in the mean square of the folds that it is not in."""
    n = len(squares)
    totals, counts = np.zeros(folds), np.zeros(folds)
    for t in range(n):
        if not masked[t]:
            totals[t * folds // n] += squares[t]
            counts[t * folds // n] += 1
    total, count, smooth = totals.sum(), counts.sum(), 0.0
    for t in range(n):
        fold = t * folds // n
        others = max((total - totals[fold]) / max(count - counts[fold], 1.0), least * least)
        part = 1.0 if masked[t] else min(squares[t] / others, clip * clip)
        smooth = part if t == 0 else smooth + smoothing * (part - smooth)
        usual[t] += smooth

"""The ramp that a series is on: when it began, how it bends, and when it reaches the limit; compiled."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

RAMP_FEATURES = 6
_HOUR = 60.0
_STARTS = 24  # candidates for the start of the ramp
_FEW = 8  # cells of which no ramp is made
_SAWTOOTH = 0.15  # drawdown from which a series has teeth, relative to its range
_OUTGROWN = 0.25  # of the drawdown: by so much a rise must pass the old peaks to be more than the next tooth
_BENT = 0.8  # ratio of the slopes of the halves below which a ramp saturates
_FLAT = 0.65  # the same of the last quarters
_GROWS = 1.25  # ratio above which it accelerates


@njit(cache=True)
def ramp_features(cells: F32, end: int, count: int, scale: float, width: float, log_most: float, out: F64) -> None:
    """Write RAMP_FEATURES numbers about the last `count` cells before `end`; NaN without a ramp.

    ln(1 + steps to the limit), ln(1 + steps since the ramp began), share of the variance that the ramp explains,
    slope now (limits per 60 steps), slope of the second half over that of the first, rise so far (limits).

    Teeth (garbage collection, rotation, restarts) are replaced by the running maximum since the first peak: only
    peaks that grow lead to the limit. The ramp begins where a level followed by a line fits best. A ramp that
    slows down is continued as an exponential approach to its asymptote, which may lie below the limit. What was before
    a failure that is over is another ramp.
    """
    out[:RAMP_FEATURES] = np.nan
    y = np.empty(count)
    t = np.empty(count)
    n = _smooth(cells, end, count, scale, width, y, t)
    if n < _FEW:
        return
    first = _envelope(y, n)
    z, s = y[first:n], t[first:n]
    if len(z) < _FEW:
        return
    start, slope, explained = _hinge(z, s)
    if slope <= 1e-9 or len(z) - start < 3:
        return
    r, u = z[start:], s[start:]
    bend, recent, after = _bends(r, u, slope)
    age = t[n - 1] - u[0]
    out[0] = np.log1p(min(_steps(1.0 - y[n - 1], slope, bend, recent, after, age / 2), np.expm1(log_most)))
    out[1] = np.log1p(age)
    out[2] = explained
    out[3] = slope * _HOUR
    out[4] = min(max(bend, -4.0), 4.0)
    out[5] = z[-1] - z[start]


@njit(cache=True)
def _smooth(cells: F32, end: int, count: int, scale: float, width: float, y: F64, t: F64) -> int:
    """Median of up to three neighbours: a spike of one cell is none. Returns the number of cells.

    They begin after the last cell at the limit and the one in which it was repaired.
    """
    n, begin = 0, max(end - count, 0)
    for i in range(begin, end):
        if cells[i] >= scale:
            begin = i + 2
    for i in range(begin, end):
        if not np.isnan(cells[i]):
            y[n], t[n] = cells[i] / scale, (i - end + 1) * width
            n += 1
    a = y[0] if n else 0.0
    for i in range(1, n - 1):
        b, c = y[i], y[i + 1]
        y[i] = max(min(a, b), min(max(a, b), c))
        a = b
    return n


@njit(cache=True)
def _envelope(y: F64, n: int) -> int:
    """Turn a series with teeth into the running maximum since its first peak, in place; its first cell."""
    low, high, fall = np.inf, -np.inf, 0.0
    for i in range(n):
        low, high = min(low, y[i]), max(high, y[i])
        fall = max(fall, high - y[i])
    if fall < _SAWTOOTH * (high - low) or fall < 0.01:
        return 0
    peak, peak_at, first, last, old = -np.inf, 0, -1, 0, -np.inf
    for i in range(n):
        if y[i] >= peak:
            peak, peak_at = y[i], i
        elif peak - y[i] >= 0.5 * fall:
            first = peak_at if first < 0 else first
            old, last = max(old, peak), i
            peak = y[i]
    if y[n - 1] > old + _OUTGROWN * fall:
        return last
    highest = -np.inf
    now = y[n - 1]
    for i in range(max(first, 0), n):
        highest = max(highest, y[i])
        y[i] = highest
    y[n - 1] = max(now, highest)
    return max(first, 0)


@njit(cache=True)
def _hinge(z: F64, s: F64) -> tuple[int, float, float]:
    """Start, slope and explained variance of the best 'level, then line' (least squares over _STARTS starts)."""
    n = len(z)
    mean = z.mean()
    total = ((z - mean) ** 2).sum()
    errors, slopes = np.full(_STARTS, np.inf), np.zeros(_STARTS)
    count = ss = sss = sz = ssz = 0.0  # sums over the cells from `i` on
    j = n
    for k in range(_STARTS - 1, -1, -1):
        i = _begin(k, n)
        while j > i:
            j -= 1
            value = z[j] - mean
            count += 1
            ss += s[j]
            sss += s[j] * s[j]
            sz += value
            ssz += s[j] * value
        sx, sxx, sxz = ss - count * s[i], sss - 2 * s[i] * ss + count * s[i] * s[i], ssz - s[i] * sz
        variance = sxx - sx * sx / n
        if variance > 0:
            slopes[k] = sxz / variance
            errors[k] = total - slopes[k] * sxz
    best, start, slope = np.inf, 0, 0.0
    for k in range(_STARTS):
        if errors[k] < 0.98 * best:
            best, start, slope = errors[k], _begin(k, n), slopes[k]
    return start, slope, (1.0 - best / total if total > 1e-12 else 0.0)


@njit(cache=True)
def _begin(candidate: int, n: int) -> int:
    return candidate * max(n - 4, 1) // _STARTS


@njit(cache=True)
def _line(y: F64, t: F64) -> float:
    """Least squares slope."""
    x = t - t.mean()
    variance = (x * x).sum()
    return (x * (y - y.mean())).sum() / variance if variance > 0 else 0.0


@njit(cache=True)
def _bends(r: F64, u: F64, slope: float) -> tuple[float, float, float]:
    """Slope of the second half over that of the first, of the last quarter over the third, and the second half's."""
    half, quarter = len(r) // 2, len(r) // 4
    if half < 4:
        return 1.0, 1.0, slope
    before, after = _line(r[:half], u[:half]), _line(r[half:], u[half:])
    bend = after / before if before > 1e-9 else 4.0
    if quarter < 4:
        return bend, bend, after
    third, last = _line(r[half:-quarter], u[half:-quarter]), _line(r[-quarter:], u[-quarter:])
    return bend, (last / third if third > 1e-9 else 4.0), after


@njit(cache=True)
def _steps(left: float, slope: float, bend: float, recent: float, after: float, half: float) -> float:
    """Steps until `left` is used up: quadratic where the ramp grows, exponential where it fades, else linear.

    half: steps in half of the ramp; a ramp fades where both its halves and its last quarters say so, or where the
    last quarter has fallen off by half.
    """
    if left <= 0:
        return 0.0
    if recent < _FLAT:
        return _fading(left, after * min(recent, 1.0), max(recent, 0.0), half / 2)
    if bend < _BENT and recent < _BENT:
        return _fading(left, after, bend, half)
    if bend <= _GROWS or after <= 0:
        speed = after if bend < _BENT else min(slope, after) if bend <= 1 else max(slope, after)
        return left / speed if speed > 1e-12 else np.inf
    growth = after * (1 - 1 / bend) / half
    now = after + growth * half / 2
    return (np.sqrt(now * now + 2 * growth * left) - now) / growth


@njit(cache=True)
def _fading(left: float, slope: float, bend: float, span: float) -> float:
    """Steps of an exponential approach whose slope falls by the factor `bend` in `span` steps."""
    if bend <= 0.02 or slope <= 0:
        return np.inf
    constant = span / np.log(1 / bend)
    rise = slope * np.sqrt(bend) * constant  # what is still to come, at infinity
    return -constant * np.log1p(-left / rise) if rise > left else np.inf


def level_then_line(values: F64, times: F64) -> int:
    """Index at which the line of the best 'level, then line' begins; values, times: float64 [n], no NaN."""
    start, _, _ = _hinge(np.ascontiguousarray(values, np.float64), np.ascontiguousarray(times, np.float64))
    return int(start)

"""The features of one series at one time, compiled; stream and batch call the same loop."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from forewarn.config.threads import threads_for
from forewarn.features.definitions import (
    COARSE_CELLS,
    COARSE_STEPS,
    DAY_COARSE,
    FINE_CELLS,
    INDEX,
    MAX_STEPS,
    MEDIUM_CELLS,
    MEDIUM_STEPS,
    SEASON_DAYS,
    WEEK_COARSE,
)
from forewarn.features.ramp_kernel import RAMP_FEATURES, ramp_features

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_MEAN, _STD, _MIN, _MAX, _SLOPE = (INDEX[f"{n}_5m"] for n in ("mean", "std", "min", "max", "slope"))
_ACCELERATION, _CHANGE = INDEX["acceleration_1h"], INDEX["change_1h"]
_STEPS = INDEX["log_steps_to_limit_1h"]
_RATIO, _EWMA, _DISTANCE = INDEX["ratio"], INDEX["ewma_gap"], INDEX["distance"]
_DAY_DIFF, _DAY_Z, _WEEK_DIFF, _WEEK_Z = INDEX["day_diff"], INDEX["day_z"], INDEX["week_diff"], INDEX["week_z"]
_ROBUST, _ROBUST_STEPS = INDEX["robust_slope_1h"], INDEX["log_steps_to_limit_robust"]
_SEASON_DIFF, _SEASON_Z, _SEASON_RISE = INDEX["season_diff"], INDEX["season_z"], INDEX["season_rise_1h"]
_RESIDUAL, _PROJECTED, _PROJECTED_STEPS = (
    INDEX["residual_slope_1h"], INDEX["projected_1h"], INDEX["log_steps_projected_1h"],
)  # fmt: skip
_RISING, _DROP, _NEW_HIGH, _FAILED = INDEX["rising_1h"], INDEX["drop_6h"], INDEX["new_high"], INDEX["failed_share_24h"]
_RAMP = INDEX["log_steps_ramp"]
_NEAR, _STILL_RISING = 0.9, 0.02  # shares of the limit: so near to it, so much higher than an hour ago
_LOG_MOST = float(np.log1p(MAX_STEPS))
_MISSING_1H, _MISSING_24H, _HISTORY = INDEX["missing_1h"], INDEX["missing_24h"], INDEX["log_history"]

_HOUR = 60.0
SIX_HOURS = 24  # coarse cells in 360 steps
_EWMA_DECAY = 0.5 ** (1 / 30)
_PER_HOUR_FLOOR = 1e-7  # limits per hour below which a slope reaches nothing within MAX_STEPS


@njit(cache=True)
def _moments(cells: F32, end: int, count: int, scale: float, width: float, out: F64) -> None:
    """out [7]: mean, deviation, min, max, slope per 60 steps, slope of first and of second half.

    Least squares on the cells that are there: slope = cov(t, y) / var(t).
    """
    start = max(end - count, 0)
    middle = end - count // 2
    n = st = sy = stt = sty = syy = 0.0
    na = ta = ya = tta = tya = 0.0
    low, high = np.inf, -np.inf
    anchor = np.nan  # sums are taken around the first value: float32 cells of 1e11 bytes keep their digits
    for i in range(start, end):
        v = cells[i]
        if np.isnan(v):
            continue
        y = v / scale
        if np.isnan(anchor):
            anchor = y
        low, high = min(low, y), max(high, y)
        d, t = y - anchor, (i - end) * width
        n += 1
        st += t
        sy += d
        stt += t * t
        sty += t * d
        syy += d * d
        if i < middle:
            na, ta, ya, tta, tya = na + 1, ta + t, ya + d, tta + t * t, tya + t * d
    out[:] = np.nan
    if n == 0:
        return
    mean = sy / n
    out[0], out[2], out[3] = anchor + mean, low, high
    out[1] = np.sqrt(max(syy / n - mean * mean, 0.0))
    out[4] = _slope(n, st, sy, stt, sty)
    out[5] = _slope(na, ta, ya, tta, tya)
    out[6] = _slope(n - na, st - ta, sy - ya, stt - tta, sty - tya)


@njit(cache=True)
def _slope(n: float, st: float, sy: float, stt: float, sty: float) -> float:
    variance = n * stt - st * st
    return _HOUR * (n * sty - st * sy) / variance if n >= 3 and variance > 0 else np.nan


@njit(cache=True)
def _at(cells: F32, index: int, reach: int) -> float:
    """Newest value at or up to `reach` cells before `index`; NaN without one."""
    for i in range(index, max(index - reach, 0) - 1, -1):
        if 0 <= i < len(cells) and not np.isnan(cells[i]):
            return cells[i]
    return np.nan


@njit(cache=True)
def _log_steps(distance: float, slope: float) -> float:
    """ln(1 + steps until the limit) at a slope in limits per 60 steps."""
    if np.isnan(slope) or np.isnan(distance):
        return np.nan
    if distance <= 0:
        return 0.0
    if slope <= _PER_HOUR_FLOOR:
        return np.log1p(MAX_STEPS)
    return np.log1p(min(_HOUR * distance / slope, MAX_STEPS))


@njit(cache=True)
def _robust_slope(cells: F32, end: int, count: int, scale: float, width: float, buffer: F64) -> float:
    """Median of (y[i + half] - y[i]) / half: Theil-Sen with pairs half a window apart (Sen 1968)."""
    half = count // 2
    n = 0
    for i in range(max(end - count, 0), end - half):
        a, b = cells[i], cells[i + half]
        if not (np.isnan(a) or np.isnan(b)):
            buffer[n] = b - a
            n += 1
    return _HOUR * np.median(buffer[:n]) / (half * width * scale) if n >= 3 else np.nan


@njit(cache=True)
def _rises(cells: F32, end: int, count: int, scale: float) -> tuple[float, float]:
    """Share of consecutive differences that rise, and the largest fall between neighbours."""
    rises = total = 0
    fall = 0.0
    previous = np.nan
    for i in range(max(end - count, 0), end):
        if np.isnan(cells[i]):
            continue
        if not np.isnan(previous):
            total += 1
            difference = (cells[i] - previous) / scale
            rises += difference > 0
            fall = max(fall, -difference)
        previous = cells[i]
    return (rises / total if total else np.nan), (fall if total else np.nan)


@njit(cache=True)
def _safe_high(coarse: F32, end: int, limit: float) -> float:
    """Highest cell of the week before the last six hours that no failure followed within six hours.

    The cell after a failure is half of it, half of the repair, and counts as neither.
    """
    high = after = -np.inf
    first, failed = max(end - COARSE_CELLS, 0), end + COARSE_CELLS
    for i in range(end - 1, first - 1, -1):
        if np.isnan(coarse[i]):
            continue
        if coarse[i] >= limit or _ended_short(coarse, i, first, end, limit):
            failed, after = i, -np.inf
            continue
        high = max(high, after)
        after = coarse[i] if i < end - SIX_HOURS and failed - i > SIX_HOURS else -np.inf
    return max(high, after)


@njit(cache=True)
def _ended_short(coarse: F32, i: int, first: int, end: int, limit: float) -> bool:
    """Whether a rise right below the limit ended in a fall by half within two cells: it was at the limit for less than
    a cell (killed and restarted, cleaned up), so that no mean shows it."""
    if coarse[i] < _NEAR * limit or i - 4 < first or not coarse[i] - coarse[i - 4] >= _STILL_RISING * limit:
        return False
    return bool(np.any(coarse[i + 1 : min(i + 3, end)] <= 0.5 * coarse[i]))


@njit(cache=True)
def _season(coarse: F32, first: int, limit: float, days: F32, counts: NDArray[np.int32], profile: F64) -> None:
    """profile [n]: for the cells from `first` on the median of the same time of the last SEASON_DAYS days, of those
    below the limit; NaN without a day.

    The median follows the day and not one bad day: an incident of yesterday is no season. days: float32
    [SEASON_DAYS, n] and counts: int32 [n] are room to work in: whole rows are sorted at once, as vectors.
    """
    n = len(profile)
    reach = min(SEASON_DAYS, (first + n - 1) // DAY_COARSE)
    counts[:] = 0
    for day in range(reach):
        begin = first - DAY_COARSE * (day + 1)
        skip = max(-begin, 0)
        days[day, :skip] = np.inf
        cells, of_day, there = coarse[begin + skip : begin + n], days[day, skip:], counts[skip:]
        for i in range(len(cells)):
            bad = np.isnan(cells[i]) | (cells[i] >= limit)
            of_day[i] = np.float32(np.inf) if bad else cells[i]
            there[i] += np.int32(1) - np.int32(bad)
    for last in range(reach - 1, 0, -1):
        for row in range(last):
            low, high = days[row], days[row + 1]
            for i in range(n):
                a, b = low[i], high[i]
                low[i], high[i] = (a if a < b else b), (b if a < b else a)
    for i in range(n):
        c = counts[i]
        profile[i] = 0.5 * (np.float64(days[(c - 1) // 2, i]) + np.float64(days[c // 2, i])) if c else np.nan


@njit(cache=True)
def _season_features(coarse: F32, ec: int, scale: float, limit: float, ratio: float, spread: float, out: F64) -> None:
    """What the season explains, the trend of what it does not, and the path that both give."""
    profile = np.zeros(SIX_HOURS + DAY_COARSE)  # from six hours ago to a day ahead of `ec`; no season: flat
    known = False
    if ec - SIX_HOURS + len(profile) > DAY_COARSE:
        days, counts = np.empty((SEASON_DAYS, len(profile)), np.float32), np.empty(len(profile), np.int32)
        _season(coarse, ec - SIX_HOURS, limit, days, counts, profile)
        known = counts[SIX_HOURS] > 0
        before = 0.0
        for i in range(len(profile)):
            before = profile[i] = before if np.isnan(profile[i]) else profile[i] / scale
    now = profile[SIX_HOURS]
    if known:
        out[_SEASON_DIFF] = ratio - now
        out[_SEASON_Z] = out[_SEASON_DIFF] / spread
    residual = np.empty(SIX_HOURS, np.float32)
    for i in range(SIX_HOURS):
        j = ec - SIX_HOURS + i
        residual[i] = coarse[j] / scale - profile[i] if j >= 0 else np.nan
    m = np.empty(7)
    for k in range(3):
        cells = 4 if k == 0 else 12 if k == 1 else SIX_HOURS
        out[_SEASON_RISE + k] = profile[SIX_HOURS + cells] - now if known else np.nan
        _moments(residual, SIX_HOURS, cells, 1.0, COARSE_STEPS, m)
        slope = m[4]
        out[_RESIDUAL + k] = slope
        out[_PROJECTED_STEPS + k] = _projected_steps(profile, ratio, slope)
    for k in range(3):
        cells = 4 if k == 0 else 12 if k == 1 else SIX_HOURS
        out[_PROJECTED + k] = (
            ratio + profile[SIX_HOURS + cells] - now + out[_RESIDUAL + 1] * cells * COARSE_STEPS / _HOUR
        )


@njit(cache=True)
def _path(profile: F64, ratio: float, slope: float, h: int) -> float:
    """Where ratio + season + slope is `h` coarse cells from now."""
    return ratio + profile[SIX_HOURS + h] - profile[SIX_HOURS] + slope * h * COARSE_STEPS / _HOUR


@njit(cache=True)
def _projected_steps(profile: F64, ratio: float, slope: float) -> float:
    """ln(1 + steps) until ratio + season + slope reaches 1, looked for a day ahead, then by the slope alone."""
    if np.isnan(slope) or np.isnan(ratio):
        return np.nan
    if ratio >= 1:
        return 0.0
    reached = 0
    for h in range(1, DAY_COARSE):  # mostly it is not: a loop without a way out compiles to vectors
        reached += _path(profile, ratio, slope, h) >= 1
    before = ratio
    for h in range(1, DAY_COARSE if reached else 1):
        path = _path(profile, ratio, slope, h)
        if path >= 1:
            part = (1 - before) / max(path - before, 1e-9)
            return np.log1p((h - 1 + part) * COARSE_STEPS)
        before = path
    beyond = _log_steps(1 - ratio, slope)
    return max(beyond, np.log1p(DAY_COARSE * COARSE_STEPS))


@njit(cache=True)
def _series_features(
    fine: F32, medium: F32, coarse: F32, ef: int, em: int, ec: int, limit: float, age: int, buffer: F64, out: F64
) -> None:
    """Write the features of one series; ef, em, ec are the (exclusive) ends of its windows. Context stays NaN."""
    out[:] = np.nan
    now = _at(fine, ef - 1, 4)
    m = buffer[:7]
    scale = limit
    if not (limit > 0 and np.isfinite(limit)):
        _moments(medium, em, MEDIUM_CELLS, 1.0, MEDIUM_STEPS, m)
        scale = max(abs(m[0]) + 3 * m[1], 1e-12) if np.isfinite(m[0]) else 1.0
    ratio = now / scale
    distance = 1.0 - ratio
    out[_RATIO], out[_DISTANCE] = ratio, distance
    for w in range(4):
        if w == 3:
            _moments(medium, em, MEDIUM_CELLS, scale, MEDIUM_STEPS, m)
        else:
            _moments(fine, ef, 5 if w == 0 else 60 if w == 1 else FINE_CELLS, scale, 1.0, m)
        out[_MEAN + w], out[_STD + w], out[_MIN + w], out[_MAX + w], out[_SLOPE + w] = m[0], m[1], m[2], m[3], m[4]
        if w > 0:
            out[_ACCELERATION + w - 1] = m[6] - m[5]
            out[_STEPS + w - 1] = _log_steps(distance, m[4])
    out[_CHANGE] = ratio - _at(fine, ef - 61, 5) / scale
    out[_CHANGE + 1] = ratio - _at(medium, em - 72, 2) / scale
    out[_CHANGE + 2] = ratio - _at(medium, em - MEDIUM_CELLS, 2) / scale
    weight = total = 0.0
    factor = 1.0
    for i in range(ef - 1, max(ef - 180, 0) - 1, -1):
        if not np.isnan(fine[i]):
            total += factor * fine[i]
            weight += factor
        factor *= _EWMA_DECAY
    out[_EWMA] = ratio - total / weight / scale if weight > 0 else np.nan
    spread = out[_STD + 3] + 1e-6
    for k in range(2):
        then = _at(coarse, ec - (DAY_COARSE if k == 0 else WEEK_COARSE), 1) / scale
        difference = out[_MEAN] - then
        out[_DAY_DIFF + 2 * k], out[_DAY_Z + 2 * k] = difference, difference / spread
    _season_features(coarse, ec, scale, limit, ratio, spread, out)
    out[_ROBUST] = _robust_slope(fine, ef, 60, scale, 1.0, buffer)
    out[_ROBUST + 1] = _robust_slope(medium, em, 72, scale, MEDIUM_STEPS, buffer)
    out[_ROBUST + 2] = _robust_slope(medium, em, MEDIUM_CELLS, scale, MEDIUM_STEPS, buffer)
    out[_ROBUST_STEPS] = _log_steps(distance, out[_ROBUST + 1])
    out[_RISING], _ = _rises(fine, ef, 60, scale)
    out[_RISING + 1], out[_DROP] = _rises(medium, em, 72, scale)
    _, out[_DROP + 1] = _rises(medium, em, MEDIUM_CELLS, scale)
    high = _safe_high(coarse, ec, limit)
    out[_NEW_HIGH] = ratio - high / scale if np.isfinite(high) else np.nan
    failed = there = there_hour = 0
    for i in range(max(em - MEDIUM_CELLS, 0), em):
        if not np.isnan(medium[i]):
            there += 1
            failed += medium[i] >= limit
    for i in range(max(ef - 60, 0), ef):
        there_hour += not np.isnan(fine[i])
    out[_FAILED] = failed / there if there else np.nan
    out[_MISSING_1H] = 1.0 - there_hour / min(60, max(age, 1))
    out[_MISSING_24H] = max(0.0, 1.0 - there / min(MEDIUM_CELLS, max(age // MEDIUM_STEPS, 1)))
    out[_HISTORY] = np.log1p(max(age, 0))
    ramp_features(
        medium, em, MEDIUM_CELLS, scale, MEDIUM_STEPS, _LOG_MOST, out[_RAMP : _RAMP + RAMP_FEATURES]
    )  # fmt: skip


@njit(cache=True)
def _one_by_one(
    fine: F32, medium: F32, coarse: F32, rows: I64, ef: I64, em: I64, ec: I64, limits: F64, ages: I64, out: F64
) -> None:
    buffer = np.empty(MEDIUM_CELLS, np.float64)
    for r in range(len(rows)):
        s = rows[r]
        _series_features(fine[s], medium[s], coarse[s], ef[r], em[r], ec[r], limits[r], ages[r], buffer, out[r])


@njit(cache=True, parallel=True)
def _in_parallel(
    fine: F32, medium: F32, coarse: F32, rows: I64, ef: I64, em: I64, ec: I64, limits: F64, ages: I64, out: F64
) -> None:
    for r in prange(len(rows)):
        s = rows[r]
        buffer = np.empty(MEDIUM_CELLS, np.float64)
        _series_features(fine[s], medium[s], coarse[s], ef[r], em[r], ec[r], limits[r], ages[r], buffer, out[r])


def features_kernel(
    fine: F32, medium: F32, coarse: F32, rows: I64, ef: I64, em: I64, ec: I64, limits: F64, ages: I64, out: F64
) -> None:
    """out [R, F]: the features of R (series, time) pairs.

    fine, medium, coarse: float32 [S, cells]. rows [R]: series. ef, em, ec [R]: exclusive ends of the windows.
    limits [R]: NaN where none is known. ages [R]: steps since the series began.
    """
    run = _one_by_one if threads_for(len(rows)) == 1 else _in_parallel
    run(fine, medium, coarse, rows, ef, em, ec, limits, ages, out)

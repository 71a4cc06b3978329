"""Paths of a capacity over the next week: plain baselines, robust trends, seasons on trends, teeth, steps.

Each takes past [S, T] (cells of an hour, none missing, T >= 24) and gives the maxima [S, K] of its path within HOURS.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import maximum_filter1d

from forewarn.forecasting.capacity.horizons import FARTHEST, HOURS, Floats, running_maxima
from forewarn.forecasting.simple import one_season_before, robust_slope

Path = Callable[[Floats], Floats]
DAY, WEEK = 24, 168
_AHEAD = np.arange(1, FARTHEST + 1)
_HOURS = np.array(HOURS, float)


def naive(past: Floats) -> Floats:
    """It stays."""
    return np.repeat(past[:, -1:], len(HOURS), axis=1)


def seasonal_naive(past: Floats) -> Floats:
    """The week before, the day before, or the last cell, as long as the past is."""
    season = WEEK if past.shape[1] >= 2 * WEEK else DAY if past.shape[1] >= 2 * DAY else 1
    return running_maxima(one_season_before(past, FARTHEST, season))


def linear(past: Floats, hours: int) -> Floats:
    """Least squares over the last `hours`, as Prometheus's predict_linear: from now on, along the fitted line."""
    x = past[:, -hours:]
    t = np.arange(x.shape[1]) - (x.shape[1] - 1)
    slope = (x - x.mean(axis=1, keepdims=True)) @ (t - t.mean()) / ((t - t.mean()) ** 2).sum()
    fitted = x.mean(axis=1) - slope * t.mean()
    return running_maxima(fitted[:, None] + slope[:, None] * _AHEAD)


def robust(past: Floats, hours: int) -> Floats:
    """From the last cell along the slope between the medians of both halves of the last `hours`."""
    return running_maxima(past[:, -1:] + robust_slope(past, hours)[:, None] * _AHEAD)


def since_shift(past: Floats) -> Floats:
    """The robust slope since the last change within an hour that is large among the changes of two weeks."""
    x = past[:, -2 * WEEK :]
    change = np.abs(np.diff(x, axis=1))
    large = change > np.maximum(8 * np.quantile(change, 0.8, axis=1), 0.2 * np.ptp(x, axis=1))[:, None]
    last = np.where(large.any(axis=1), x.shape[1] - 1 - large[:, ::-1].argmax(axis=1), 0)
    slope = np.array([robust_slope(row[None, at:], len(row))[0] for row, at in zip(x, last, strict=True)])
    return running_maxima(past[:, -1:] + slope[:, None] * _AHEAD)


def seasonal_trend(past: Floats, days: int) -> Floats:
    """Median change from day to day of the last `days`, and the usual shape of a day around it; of a week, where the
    past holds three."""
    x = past[:, -days * DAY :] if past.shape[1] >= 2 * DAY else past
    if x.shape[1] < 2 * DAY:
        return robust(past, DAY)
    slope = np.median(x[:, DAY:] - x[:, :-DAY], axis=1) / DAY
    season = WEEK if x.shape[1] >= 3 * WEEK else DAY
    flat = x - slope[:, None] * (np.arange(x.shape[1]) - x.shape[1] + 1)
    cycles = x.shape[1] // season
    profile = np.median(flat[:, -cycles * season :].reshape(len(x), cycles, season), axis=1)
    off = np.median(flat[:, -6:] - profile[:, -6:], axis=1)
    path = profile[:, (_AHEAD - 1) % season] + slope[:, None] * _AHEAD + off[:, None] * 0.5 ** (_AHEAD / DAY)
    return running_maxima(path)


def daily_growth(past: Floats) -> Floats:
    """[S] median change from day to day in the last week; from half to half where the past is shorter than two days."""
    x = past[:, -WEEK - DAY :]
    if x.shape[1] < 2 * DAY:
        return robust_slope(past, past.shape[1]) * DAY
    return np.asarray(np.median(x[:, DAY:] - x[:, :-DAY], axis=1))


def without_growth(past: Floats) -> Floats:
    """past [S, T] as it would have been without its daily growth, ending at the same value."""
    back = np.arange(past.shape[1] - 1, -1, -1) / DAY
    return past + daily_growth(past)[:, None] * np.minimum(back, WEEK / DAY + 1)


def teeth(past: Floats) -> Floats:
    """Up with the usual rise, not above the highest of two weeks but for what that grew by."""
    x = past[:, -2 * WEEK :]
    change = np.diff(x, axis=1)
    rise = np.maximum(np.median(change, axis=1), np.maximum(robust_slope(past, 6), 0))
    width = DAY if x.shape[1] < 6 * DAY else 2 * DAY
    blocks = x.shape[1] // width
    edge = x[:, -blocks * width :].reshape(len(x), blocks, width).max(axis=2)
    growth = np.maximum(robust_slope(edge, blocks) / width, 0)
    top = x.max(axis=1, keepdims=True) + growth[:, None] * _HOURS
    return np.asarray(np.minimum(past[:, -1:] + rise[:, None] * _HOURS, np.maximum(top, past[:, -1:])))


def usual_gain(past: Floats) -> Floats:
    """The last cell and the median of what the maximum of as many cells lay above the cell before them."""
    return past[:, -1:] + np.maximum.accumulate(gains(past, (0.5,))[0], axis=1)


def gains(past: Floats, levels: Sequence[float]) -> Floats:
    """[L, S, K] quantiles of (maximum of the next h cells less the present one) over the past.

    Where the past is too short for a horizon, those of the horizon before; none before the first.
    """
    result = np.zeros((len(levels), len(past), len(HOURS)))
    size = past.shape[1]
    for k, h in enumerate(HOURS):
        if size >= h + 8:
            every = max(1, h // 8)
            ahead = maximum_filter1d(past, h, axis=1, origin=-(h // 2))  # at i: the highest of i … i + h - 1
            gained = ahead[:, 1 : size - h + 1 : every] - past[:, : size - h : every]
            result[:, :, k] = np.quantile(gained, levels, axis=1)
        elif k:
            result[:, :, k] = result[:, :, k - 1]
    return result


PATHS: dict[str, Path] = {
    "naive": naive,
    "seasonal_naive": seasonal_naive,
    "predict_linear_6h": lambda past: linear(past, 6),
    "predict_linear_1d": lambda past: linear(past, DAY),
    "predict_linear_7d": lambda past: linear(past, WEEK),
    "robust_trend_1d": lambda past: robust(past, DAY),
    "robust_trend_3d": lambda past: robust(past, 3 * DAY),
    "robust_trend_7d": lambda past: robust(past, WEEK),
    "robust_trend_all": lambda past: robust(past, past.shape[1]),
    "since_shift": since_shift,
    "seasonal_trend_7d": lambda past: seasonal_trend(past, 7),
    "seasonal_trend_28d": lambda past: seasonal_trend(past, 28),
    "teeth": teeth,
    "usual_gain": usual_gain,
}
BASELINES = ("naive", "seasonal_naive", "predict_linear_1d", "predict_linear_7d")

"""The class of a capacity by the shape of its past: who serves it is decided class by class."""

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.capacity.horizons import TINY, Floats

CLASSES = (
    "flat",
    "monotone",
    "growing_sawtooth",
    "sawtooth",
    "seasonal",
    "seasonal_growth",
    "level_shift",
    "irregular",
)
DAY = 24
_TREND = 0.6  # share of the variance that a line explains, from which on a signal grows
_SEASON = 0.5  # share of the variance left that the time of day explains
_FALL = 0.25  # of its range within an hour: a tooth ends, a level shifts


def class_of(past: Floats) -> NDArray[np.int64]:
    """[S] index into CLASSES, from the last two weeks of past [S, T] without missing cells.

    flat: it hardly changes. sawtooth: it rose little by little and fell at once, more than once; growing where a line
    explains its upper edge. level_shift: a step holds most of its variance. seasonal: the time of day explains most of
    what a line leaves. monotone: a line explains most. irregular: else.
    """
    x = past[:, -14 * DAY :]
    range_ = np.ptp(x, axis=1)
    change = np.diff(x, axis=1)
    falls = (change < -_FALL * range_[:, None]).sum(axis=1)
    rises = (change > _FALL * range_[:, None]).sum(axis=1)
    trend, left = _line(x)
    season = _season_share(left)
    edge = _line(_upper_edge(x))[0]
    shift = _step_share(x)
    teeth = (falls >= 2) & (rises <= falls // 2) & (season < 0.8)
    conditions = [
        range_ <= 1e-3 * np.abs(x).max(axis=1) + TINY,
        teeth & (edge > _TREND),
        teeth,
        (trend > _TREND) & (season > _SEASON),
        (shift > 0.85) & (shift > trend + 0.1) & (np.maximum(falls, rises) >= 1),
        trend > _TREND,
        season > _SEASON,
    ]
    names = ("flat", "growing_sawtooth", "sawtooth", "seasonal_growth", "level_shift", "monotone", "seasonal")
    return np.select(conditions, [CLASSES.index(name) for name in names], CLASSES.index("irregular"))


def _line(x: Floats) -> tuple[Floats, Floats]:
    """[S] share of the variance that a line explains, and what it leaves [S, T]."""
    t = np.arange(x.shape[1]) - (x.shape[1] - 1) / 2
    centred = x - x.mean(axis=1, keepdims=True)
    slope = centred @ t / (t @ t)
    left = centred - slope[:, None] * t
    return 1 - (left**2).sum(axis=1) / ((centred**2).sum(axis=1) + TINY), left


def _season_share(left: Floats) -> Floats:
    """[S] share of the variance that the time of day explains, less what it would of noise; 0 below three days."""
    days = left.shape[1] // DAY
    if days < 3:
        return np.zeros(len(left))
    blocks = left[:, -days * DAY :].reshape(len(left), days, DAY)
    between = blocks.mean(axis=1).var(axis=1)
    total = blocks.reshape(len(left), -1).var(axis=1) + TINY
    return np.asarray(np.clip((between / total - 1 / days) / (1 - 1 / days), 0, 1))


def _upper_edge(x: Floats) -> Floats:
    """[S, blocks] maxima of blocks of a sixth of the past."""
    width = max(x.shape[1] // 6, 1)
    blocks = x.shape[1] // width
    return np.asarray(x[:, -blocks * width :].reshape(len(x), blocks, width).max(axis=2))


def _step_share(x: Floats) -> Floats:
    """[S] largest share of the variance that one step explains."""
    n = x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    total = np.cumsum(centred, axis=1)[:, :-1]
    before = np.arange(1, n)
    explained = total**2 * (1 / before + 1 / (n - before))
    return np.asarray(explained.max(axis=1) / ((centred**2).sum(axis=1) + TINY))

"""Which signals lie, for what the load asks of them, where they lay on no day that the model has learned from.

A release that makes every request dearer lifts one signal of one service by less than its daily swing: neither rows
pooled over all signals nor the distribution of one signal show it. Compared with what the load explains, and day with
day, it stands out: days differ little once load is taken out, and an incident of some hours hardly moves the median
of a day's hours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

DAY_SECONDS = 86_400.0
BLOCKS = 24  # of a day, each its mean
LEAST_BLOCKS = 16  # known ones, for a day to be judged
LEAST_DAYS, MOST_DAYS = 5, 28  # reference days, the newest of them
CHANCE = 1e-3  # of one report that shows nothing but chance, shared by its signals (Bonferroni)
LEVEL_CHANCE = 0.01  # of the level alone, whatever the steps say
STEPS_CHANCE = 1e-4  # the steps support what the level says, and prove nothing alone
INCIDENT_SECONDS = 6 * 3600.0  # what leads to a failure is an incident, and no new world
MATERIAL_SHARE = 0.01  # of the usual level
LEAST_USE = 0.005  # of the limit
_HUBER, _ROUNDS = 1.5, 8
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class LevelShift:
    """How far the newest day lies from the reference days. level, shift: shares of the limit; chance: p-value."""

    level: float
    shift: float
    chance: float

    def moved(self, signals: int) -> bool:
        """Whether it has moved beyond chance, among so many signals that were judged."""
        return self.chance * signals < CHANCE


def hourly(values: Floats, step_seconds: float) -> F64:
    """Means [D, BLOCKS] of cells [C]: whole days back from the last cell; NaN where half of a block is missing."""
    width = max(round(DAY_SECONDS / BLOCKS / step_seconds), 1)
    days = len(values) // (width * BLOCKS)
    cells = np.asarray(values[len(values) - days * width * BLOCKS :], np.float64).reshape(days, BLOCKS, width)
    known = np.isfinite(cells)
    count = known.sum(axis=2)
    total = np.where(known, cells, 0.0).sum(axis=2)
    return np.where(2 * count >= width, total / np.maximum(count, 1), np.nan)


def without_incidents(use: Floats, step_seconds: float) -> F64:
    """Shares of the limit [C], NaN while it is reached and in the hours before it was."""
    from scipy.ndimage import maximum_filter1d

    before = round(INCIDENT_SECONDS / step_seconds)
    reached = np.nan_to_num(use, nan=0.0) >= 1.0
    # cell c is left out where any of [c, c + before] reaches the limit
    leads = maximum_filter1d(reached, before + 1, origin=-(before // 2), mode="constant", cval=0)
    return np.where(leads, np.nan, np.asarray(use, np.float64))


def usual_steps(values: Floats, step_seconds: float) -> F64:
    """Median change from cell to cell [D] of cells [C], of whole days back from the last: how fast something fills up
    between what empties it."""
    cells = round(DAY_SECONDS / step_seconds)
    days = len(values) // cells
    changes = np.diff(np.asarray(values[len(values) - days * cells :], np.float64).reshape(days, cells), axis=1)
    known = np.isfinite(changes).sum(axis=1)
    ordered = np.sort(changes, axis=1)  # NaN come last
    return np.where(2 * known >= cells, ordered[np.arange(days), known // 2], np.nan)


def level_shift(use: F64, steps: F64, load: F64 | None, reference: int) -> LevelShift | None:
    """The newest day of `use` [D, BLOCKS] beside its first `reference` days; None where there are too few.

    steps: [D], usual change from cell to cell on each day. load: [D, BLOCKS] of the entity, None without one. What
    load explains is taken out by a robust straight line of the reference days.
    """
    left = without_load(use, load, reference)
    enough = np.isfinite(left).sum(axis=1) >= LEAST_BLOCKS
    days = np.flatnonzero(enough[:reference])[-MOST_DAYS:]
    if len(days) < LEAST_DAYS or not enough[-1]:
        return None
    level = float(np.nanmedian(use[days]))
    least = max(MATERIAL_SHARE * abs(level), LEAST_USE)
    found = [_one_way(left, steps, days, sign, least) for sign in (1.0, -1.0)]
    shift, chance = min(found, key=lambda one: one[1])
    return LevelShift(level, shift, min(2 * chance, 1.0))


def _one_way(left: F64, steps: F64, days: I64, sign: float, least: float) -> tuple[float, float]:
    """Shift of the newest day upwards (`sign` 1) or downwards, and its one-sided p-value.

    The day's level is the median of its hours, which an incident of some hours does not lift. With it
    goes the usual change from cell to cell; the two p-values are combined by Fisher's method.
    """
    levels = np.array([_median(day) for day in sign * left])
    shift, p = _beside(levels, days)
    _, of_steps = _beside(sign * steps, days)
    if shift < least or p > LEVEL_CHANCE:
        return sign * shift, 1.0
    product = max(p, _TINY) * max(of_steps, STEPS_CHANCE)
    return sign * shift, float(product * (1 - np.log(product)))


def _median(day: F64) -> float:
    known = np.sort(day[np.isfinite(day)])
    return float(known[len(known) // 2]) if len(known) >= LEAST_BLOCKS else float("nan")


def without_load(use: F64, load: F64 | None, reference: int) -> F64:
    """`use` less what a robust line through the reference blocks says of its load; less their median without one."""
    y = use[:reference].ravel()
    if load is not None:
        x = load[:reference].ravel()
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() >= LEAST_DAYS * LEAST_BLOCKS and np.ptp(x[known]) > _TINY:
            slope, intercept = _robust_line(x[known], y[known])
            return np.asarray(use - slope * load - intercept)
    return np.asarray(use - (np.nanmedian(y) if np.isfinite(y).any() else np.nan))


def _robust_line(x: F64, y: F64) -> tuple[float, float]:
    """Huber's line by reweighted least squares."""
    weight = np.ones(len(x))
    slope = intercept = 0.0
    for _ in range(_ROUNDS):
        mx, my = np.average(x, weights=weight), np.average(y, weights=weight)
        slope = float(np.sum(weight * (x - mx) * (y - my)) / max(np.sum(weight * (x - mx) ** 2), _TINY))
        intercept = float(my - slope * mx)
        left = np.abs(y - slope * x - intercept)
        scale = max(1.4826 * float(np.median(left)), _TINY)
        weight = np.minimum(1.0, _HUBER * scale / np.maximum(left, _TINY))
    return slope, intercept


def _beside(values: F64, days: I64) -> tuple[float, float]:
    """The last of `values` [D] beside those of `days`: how far it lies above them, and the p-value of so much.

    Student's t of one more observation, about their mean and about their straight line in time: what grows by itself
    is no shift. The smaller shift and the larger p-value count.
    """
    from scipy.special import stdtr

    known = days[np.isfinite(values[days])]
    if len(known) < LEAST_DAYS or not np.isfinite(values[-1]):
        return 0.0, 1.0
    y, n, centred = values[known], len(known), known - known.mean()
    ahead, width = len(values) - 1 - known.mean(), float(centred @ centred)
    found = []
    for slope, freedom, more in ((0.0, n - 1, 0.0), (float(centred @ y) / width, n - 2, ahead**2 / width)):
        left = y - y.mean() - slope * centred
        shift = values[-1] - y.mean() - slope * ahead
        deviation = np.sqrt(float(left @ left) / freedom * (1 + 1 / n + more))
        found.append((float(shift), float(stdtr(freedom, -shift / max(deviation, _TINY)))))
    return min(s for s, _ in found), max(p for _, p in found)

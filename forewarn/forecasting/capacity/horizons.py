"""What is forecast of a capacity: the highest value within each horizon, whose distribution tells the first crossing.

A signal crosses its limit within h hours exactly where the highest of its next h cells is at the limit. So the
distribution of that maximum, horizon by horizon, is the distribution of the time of the first crossing, and needs no
simulated paths. The mean pinball loss of its quantiles is the mean Brier score over every limit there could be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS = (1, 3, 6, 12, 24, 36, 48, 72, 96, 120, 144, 168)  # cells of an hour
FARTHEST = HOURS[-1]
LEVELS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
MEDIAN, LOW, HIGH = 6, 2, 10  # places of 50, 10 and 90 %
TINY = 1e-12
_TAIL = 2.0  # the distribution ends so many times the outermost spacing beyond the outermost level
_HOURS = np.array(HOURS, float)


def running_maxima(path: Floats) -> Floats:
    """[..., K] highest of the first h cells of `path` [..., steps] for each of HOURS; NaN beyond its end."""
    highest = np.maximum.accumulate(path, axis=-1)
    steps = path.shape[-1]
    return np.stack([highest[..., h - 1] if h <= steps else np.full(path.shape[:-1], np.nan) for h in HOURS], axis=-1)


def came(values: Floats, at: int) -> Floats:
    """[S, K] what the maxima after cell `at` of values [S, T] were; NaN where the horizon reaches beyond T."""
    return running_maxima(values[:, at : at + FARTHEST])


def increasing(quantiles: Floats) -> Floats:
    """Quantiles [..., K, 13] made increasing along levels and horizons: a maximum over more cells is no lower."""
    return np.maximum.accumulate(np.sort(quantiles, axis=-1), axis=-2)


def crps(quantiles: Floats, truth: Floats) -> Floats:
    """[...] from quantiles [..., 13] and truth [...]: twice the pinball loss integrated over LEVELS; NaN stays NaN."""
    miss = truth[..., None] - quantiles
    loss = np.maximum(LEVELS * miss, (LEVELS - 1) * miss)
    width = np.gradient(LEVELS)
    return np.asarray(2 * (loss * (width / width.sum())).sum(axis=-1))


@dataclass(frozen=True, slots=True, eq=False)
class FirstCrossing:
    """When n signals first reach their limits. within: float64 [n, K], probability within each of HOURS."""

    within: Floats

    @classmethod
    def of(cls, quantiles: Floats, limit: Floats, now: Floats) -> "FirstCrossing":
        """From quantiles of the maxima [n, K, 13]; what is at its limit [n] now has crossed it."""
        within = np.empty(quantiles.shape[:2])
        levels = np.concatenate([[0.0], LEVELS, [1.0]])
        for i, rows in enumerate(quantiles):
            for k, row in enumerate(rows):
                ends = row[0] - _TAIL * (row[1] - row[0]), row[-1] + _TAIL * (row[-1] - row[-2])
                reach = np.concatenate([[ends[0]], row, [ends[1]]])
                below = np.searchsorted(reach, limit[i], side="left")
                within[i, k] = 1.0 - _share(reach, levels, int(below), limit[i])
        within[now >= limit] = 1.0
        return cls(np.maximum.accumulate(within, axis=1))

    @property
    def never(self) -> Floats:
        """[n] probability that the limit is not reached within a week."""
        return 1.0 - self.within[:, -1]

    def at(self, hours: float) -> Floats:
        """[n] probability within so many hours, straight lines between HOURS and from none at once."""
        grid = np.concatenate([[0.0], _HOURS])
        return np.array([np.interp(hours, grid, np.concatenate([[0.0], row])) for row in self.within])

    def quantile(self, level: float, given: bool = False) -> Floats:
        """[n] hours until the crossing with probability `level`; inf beyond a week. given: of those that cross."""
        result = np.full(len(self.within), np.inf)
        for i, row in enumerate(self.within):
            share = level * row[-1] if given else level
            if 0 < share <= row[-1]:
                result[i] = _inverse(row, share)
        return result


def _share(reach: Floats, levels: Floats, below: int, limit: float) -> float:
    """Share of the distribution below the limit."""
    if below == 0:
        return 0.0
    if below == len(reach):
        return 1.0
    gap = reach[below] - reach[below - 1]
    part = (limit - reach[below - 1]) / gap if gap > 0 else 1.0
    return float(levels[below - 1] + part * (levels[below] - levels[below - 1]))


def _inverse(row: Floats, share: float) -> float:
    grid, within = np.concatenate([[0.0], _HOURS]), np.concatenate([[0.0], row])
    k = int(np.searchsorted(within, share, side="left"))
    gap = within[k] - within[k - 1]
    return float(grid[k] if gap <= 0 else grid[k - 1] + (share - within[k - 1]) / gap * (grid[k] - grid[k - 1]))

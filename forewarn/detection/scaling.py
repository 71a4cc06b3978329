"""Channels on one scale: what each usually is and how far it usually strays, learned from usual rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 1e-3  # a channel that hardly moved counts as having moved by this share of its range
CONSTANT = 1e-2  # a channel that stood still: by this share of its level


@dataclass(frozen=True, slots=True, eq=False)
class ChannelScale:
    """centre [F], spread [F] > 0; values beyond `clip` spreads count as `clip`, so that no channel decides alone."""

    centre: Floats
    spread: Floats
    clip: float = 30.0

    @classmethod
    def learn(cls, X: NDArray[np.floating[Any]], clip: float = 30.0) -> Self:
        """Mean and standard deviation of each channel of `X` [n, F], NaN left out; a channel without values is 0, 1."""
        values = np.asarray(X, dtype=np.float64)
        there = np.isfinite(values)
        count = np.maximum(there.sum(axis=0), 1)
        filled = np.where(there, values, 0.0)
        centre = filled.sum(axis=0) / count
        spread = np.sqrt((np.where(there, values - centre, 0.0) ** 2).sum(axis=0) / count)
        lowest, highest = np.where(there, values, np.inf).min(axis=0), np.where(there, values, -np.inf).max(axis=0)
        spread = np.maximum(spread, FLOOR * np.where(there.any(axis=0), highest - lowest, 0.0))
        still = spread <= 1e-9 * np.maximum(np.abs(centre), 1e-9)
        spread = np.where(still, CONSTANT * np.where(centre == 0, 100.0, np.abs(centre)), spread)
        return cls(centre, spread, clip)

    def apply(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, F] in spreads from the centre, within ±clip; what is missing stays NaN."""
        return np.clip((np.asarray(X, dtype=np.float64) - self.centre) / self.spread, -self.clip, self.clip)


def carried_forward(Z: Floats, start: NDArray[np.float64] | float = 0.0) -> Floats:
    """[n, F] where a missing value is the channel's last known one, `start` before the first."""
    missing = ~np.isfinite(Z)
    if not missing.any():
        return Z
    row = np.where(missing, -1, np.arange(len(Z))[:, None])
    last = np.maximum.accumulate(row, axis=0)
    filled = np.take_along_axis(Z, np.maximum(last, 0), axis=0)
    return np.asarray(np.where(last < 0, start, filled), dtype=np.float64)

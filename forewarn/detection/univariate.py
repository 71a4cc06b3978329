"""Anomaly scores of one signal over time, streaming: a score uses its sample and those before it, nothing else.

Several views of a sample (distance from what was usual, from the last minutes, from the same time of day, how sharply
it jumps) are each smoothed, turned into surprise beside their own history, and combined by a power mean, which lets
one very surprised view speak among calm ones. An alarm fades slowly, so that it covers the range that it stands for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.residuals import residuals, smoothed
from forewarn.detection.surprise import novelty, surprise

Floats = NDArray[np.float64]

VIEWS = ("jump", "fast", "slow", "daily", "daily_fast")


@dataclass(frozen=True, slots=True)
class UnivariateDetector:
    """Learns no labels; what it knows is the history that it is given with each call."""

    half_life: float = 5.0  # samples over which distances are averaged
    fading: float = 0.95  # what a sample leaves of the score before it
    power: float = 3.0  # 1 is the mean of all views, larger leans to the most surprised

    def score(self, times: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]], learned: int) -> Floats:
        """[n] scores of `values` [n] at `times` [n, seconds, ascending]; higher is worse, 0 is usual.

        The first `learned` samples are judged beside each other, each later one beside earlier ones alone. NaN is a
        missing sample: it adds no surprise. Raises ValueError where the lengths differ.
        """
        if len(times) != len(values):
            raise ValueError(f"{len(times)} times for {len(values)} values")
        views = self.views(np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64), learned)
        combined = np.mean(np.stack(list(views.values())) ** self.power, axis=0) ** (1.0 / self.power)
        return held(combined, self.fading)

    def views(self, times: Floats, values: Floats, learned: int) -> dict[str, Floats]:
        """Surprise [n] of each view by name: `usual` and those of `VIEWS` that history allows."""
        views = {
            name: surprise(smoothed(distance, self.half_life), learned)
            for name, distance in residuals(times, values).items()
            if name in VIEWS
        }
        return {"usual": novelty(smoothed(values, self.half_life), learned), **views}


def held(scores: Floats, fading: float) -> Floats:
    """[n] the highest of all scores so far, each faded by `fading` per sample since."""
    with np.errstate(divide="ignore"):
        level = np.log(np.maximum(scores, 0.0))
    age = np.arange(len(scores)) * -np.log(fading)
    return np.asarray(np.exp(np.maximum.accumulate(level + age) - age), dtype=np.float64)

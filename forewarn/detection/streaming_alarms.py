"""Rare alarms on one signal, streaming: the sample at which something unusual begins, and not each that follows.

A sample is compared with what several simple forecasts expected (its level, the same time of day and of week); those
that foretold this signal well in the past have more say. What surprises them, beside their own history, is an alarm
unless one was raised shortly before; the more alarms a signal raised, the higher its level becomes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.residuals import residuals, smoothed, unrest
from forewarn.detection.surprise import blocks, novelty, surprise

Floats = NDArray[np.float64]

VIEWS = ("fast", "slow", "daily", "weekly")
TINY = 1e-12
FEWEST = 20  # residuals that tell how well a forecast does


@dataclass(frozen=True, slots=True)
class StreamingAlarms:
    """Learns no labels; what it knows is the history that it is given with each call."""

    level: float = 4.5  # -log of the share of history that was as unusual, mean over views
    half_life: float = 5.0  # samples over which the slower half of the views averages distances
    trust: float = 2.0  # a forecast with errors twice as large has 2 ** -trust the say
    quiet: float = 0.03  # of the history so far: how long an alarm stands for what follows
    again: float = 2.5  # an alarm so many times as strong as the last is raised all the same
    days: int = 7  # whose median is the profile of a day
    growth: float = 1.1  # of history after which what is usual is learned anew, so that what recurs is no news
    restraint: float = 0.3  # what the level rises by with the log of the number of alarms

    def score(self, times: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]], learned: int) -> Floats:
        """[n] strength of the alarm at each sample, 0 where none is raised; arguments as `UnivariateDetector.score`."""
        unusual = self.surprise(np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64), learned)
        return self.alarms(unusual, learned // 2)

    def surprise(self, times: Floats, values: Floats, learned: int) -> Floats:
        """[n] mean surprise of all views, weighted by how well each foretold what came before."""
        views = residuals(times, values, self.days)
        scale = {name: _typical(views[name], learned, self.growth) for name in VIEWS if name in views}
        scale["usual"] = _spread(values, learned, self.growth)
        least = np.fmin.reduce(list(scale.values()))
        total, trust = np.zeros(len(values)), np.zeros(len(values))
        for name, error in scale.items():
            weight = np.nan_to_num((np.maximum(least, TINY) / np.maximum(error, TINY)) ** self.trust)
            for half_life in (0.0, self.half_life):
                seen = values if name == "usual" else views[name]
                seen = smoothed(seen, half_life) if half_life else seen
                odd = novelty(seen, learned, self.growth) if name == "usual" else surprise(seen, learned, self.growth)
                total += weight * odd
                trust += weight
        total, trust = self._with_unrest(values, learned, total, trust, len(scale))
        return np.asarray(total / np.maximum(trust, TINY), dtype=np.float64)

    def _with_unrest(
        self, values: Floats, learned: int, total: Floats, trust: Floats, others: int
    ) -> tuple[Floats, Floats]:
        """The sums with one more view, how much the signal varies; it foretells nothing, so its say is the mean one."""
        weight = trust / (2 * others)
        unit = float(np.nanstd(values[:learned])) if np.isfinite(values[:learned]).any() else 0.0
        odd = novelty(unrest(values, unit or 1.0), learned, self.growth)
        return total + weight * odd, trust + weight

    def alarms(self, unusual: Floats, start: int) -> Floats:
        """[n] surprise where an alarm is raised, less what the level rose by; 0 elsewhere and before `start`."""
        out = np.zeros(len(unusual))
        last, strength, raised = -np.inf, 0.0, 0.0
        for i in np.flatnonzero(unusual > self.level):
            if i < start or unusual[i] <= self.level + raised:
                continue
            if i - last > self.quiet * i or unusual[i] > self.again * strength:
                out[i] = unusual[i] - raised
                last, strength = i, unusual[i]
                raised = self.restraint * np.log1p(np.count_nonzero(out))
        return out


def _typical(distance: Floats, learned: int, growth: float) -> Floats:
    """[n] median distance of a forecast in the history that judges each sample; NaN where it is too short."""
    out = np.full(len(distance), np.nan)
    for start, stop, known in blocks(len(distance), learned, growth):
        history = distance[:known][np.isfinite(distance[:known])]
        if len(history) > FEWEST:
            out[start:stop] = np.median(history)
    return out


def _spread(values: Floats, learned: int, growth: float) -> Floats:
    """[n] median distance from the median of history, as `_typical`; 0 where history is empty."""
    out = np.zeros(len(values))
    for start, stop, known in blocks(len(values), learned, growth):
        history = values[:known][np.isfinite(values[:known])]
        if len(history):
            out[start:stop] = np.median(np.abs(history - np.median(history)))
    return out

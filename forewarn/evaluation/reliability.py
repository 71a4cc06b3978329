"""Whether what was said with a probability came about as often: reliability in bins, with honest error bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
_Z = 1.96


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions of about the same probability. said: their mean; came: the share that came true, within
    [lower, upper] with 95 % (Wilson 1927), if the predictions were independent."""

    said: float
    came: float
    lower: float
    upper: float
    count: int

    @property
    def honest(self) -> bool:
        """Whether what was said lies within the error bar."""
        return self.lower <= self.said <= self.upper


def reliability(
    probability: NDArray[np.floating[Any]], came: NDArray[np.bool_], edges: Sequence[float] = EDGES
) -> list[ReliabilityBin]:
    """Bins that hold predictions, in order; probability, came: [n]."""
    p, outcome = np.asarray(probability, np.float64), np.asarray(came, bool)
    place = np.clip(np.digitize(p, edges) - 1, 0, len(edges) - 2)
    found = []
    for b in np.unique(place):
        own = place == b
        lower, upper = wilson(int(outcome[own].sum()), int(own.sum()))
        found.append(ReliabilityBin(float(p[own].mean()), float(outcome[own].mean()), lower, upper, int(own.sum())))
    return found


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, z = successes / trials, _Z
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance between said and came, weighted by how many (expected calibration error); NaN without bins."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.said - b.came) for b in bins) / total if total else float("nan")

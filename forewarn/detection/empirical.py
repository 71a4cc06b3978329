"""P-values from a sample of the scores of usual rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_REFERENCE = 4096


def reference_scores(scores: NDArray[np.floating[Any]], size: int = MAX_REFERENCE) -> NDArray[np.float64]:
    """Sorted scores, thinned evenly to at most `size`, so that the extremes stay."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if len(ordered) <= size:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, size).round().astype(int)]


def empirical_p_value(scores: NDArray[np.floating[Any]], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + number of reference scores at least as high) / (1 + size): Phipson and Smyth 2010, never zero."""
    below = np.searchsorted(reference, np.asarray(scores, dtype=np.float64), side="left")
    return np.asarray((1.0 + len(reference) - below) / (1.0 + len(reference)), dtype=np.float64)


TAIL_SHARE = 0.02  # of the reference, the highest: their slope continues beyond the highest one
LEAST_TAIL = 8


def tail_p_value(scores: NDArray[np.floating[Any]], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `empirical_p_value`, but falling on beyond the reference: a power law through its tail (Hill 1975).

    Without it all scores above the highest usual one would be equally unusual. Needs positive scores; where the
    reference is too short or its tail flat, the empirical figure stays.
    """
    p = empirical_p_value(scores, reference)
    k = max(int(len(reference) * TAIL_SHARE), LEAST_TAIL)
    if len(reference) <= 2 * k or reference[-k - 1] <= 0:
        return p
    start = reference[-k - 1]
    slope = float(np.log(reference[-k:] / start).mean())
    if slope <= 1e-9:
        return p
    high = np.asarray(scores, dtype=np.float64) > start
    share = (k + 1) / (len(reference) + 1)
    exponent = -np.log(np.maximum(np.asarray(scores, dtype=np.float64), start) / start) / slope
    return np.asarray(np.where(high, np.maximum(share * np.exp(exponent), 1e-300), p), dtype=np.float64)

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

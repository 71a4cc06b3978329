"""Squared distance of rows from what is usual, in the directions in which channels usually move together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHRINKAGE = 0.1  # towards independent channels: what was never seen apart is not held to be inseparable
NUGGET = 1e-3  # of the mean variance: channels that are copies of each other


def precision_matrix(R: NDArray[np.floating[Any]], shrinkage: float = SHRINKAGE) -> Floats:
    """[F, F] inverse of the covariance about zero of `R` [n, F], shrunk towards its diagonal."""
    covariance = np.asarray(R.T @ R / max(len(R), 1), dtype=np.float64)
    diagonal = np.diag(covariance)
    mixed = (1 - shrinkage) * covariance + np.diag(shrinkage * diagonal + NUGGET * max(float(diagonal.mean()), 1e-12))
    return np.asarray(np.linalg.inv(mixed), dtype=np.float64)


def squared_distance_parts(R: Floats, precision: Floats) -> Floats:
    """[n, F] parts r_j (P r)_j of the squared Mahalanobis distance r' P r, a mean over channels (1 is usual)."""
    return np.asarray(R * (R @ precision) / R.shape[1], dtype=np.float64)

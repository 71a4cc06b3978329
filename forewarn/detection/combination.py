"""P-values of several detectors of the same rows become one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cauchy_combination(p_values: NDArray[np.floating[Any]], weights: NDArray[np.floating[Any]] | None = None) -> Floats:
    """[n] from [n, D] (Liu and Xie 2020): the p-value of the weighted mean of tan((1/2 - p) pi).

    Detectors of the same rows agree, and Fisher's sum takes agreement of dependent tests for evidence: at p = 0.001
    it errs many times over. The Cauchy mean stays right in the tail under any dependence that data show in practice,
    as the harmonic mean does, but needs no table of its own to become a p-value again. NaN counts as no evidence
    (a detector that abstains is left out); without any p-value the result is 1. Raises ValueError outside (0, 1].
    """
    p = np.atleast_2d(np.asarray(p_values, dtype=np.float64))
    if ((p <= 0) | (p > 1)).any():
        raise ValueError("p-values must lie in (0, 1]")
    share = np.where(np.isfinite(p), np.ones(p.shape[1]) if weights is None else np.asarray(weights), 0.0)
    total = share.sum(axis=1)
    # 1 itself would be minus infinity, which nothing outweighs; below 1e-15 the tangent is 1 / (p pi)
    inner = np.clip(np.where(np.isfinite(p), p, 0.5), None, 1 - 1e-3)
    tangent = np.where(inner < 1e-15, 1.0 / (inner * np.pi), np.tan((0.5 - inner) * np.pi))
    mean = (share * tangent).sum(axis=1) / np.maximum(total, 1e-300)
    combined = np.where(mean > 1e15, 1.0 / (np.maximum(mean, 1.0) * np.pi), 0.5 - np.arctan(mean) / np.pi)
    return np.where(total > 0, combined, 1.0)

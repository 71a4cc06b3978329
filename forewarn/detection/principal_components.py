"""Probabilistic principal components (Tipping and Bishop 1999): what the usual directions do not rebuild, and how far a
row lies along them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import Floats
from forewarn.detection.series_detector import SeriesDetector

NUGGET = 1e-3  # of the mean variance: channels that are copies of each other


@dataclass(eq=False)
class PrincipalComponentsDetector(SeriesDetector):
    """Squared reconstruction error in units of its variance, plus the squared distance along the components kept.

    `explained` is the share of variance that they keep. Rows are judged alone but for the smoothing.
    """

    explained: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        self._precision = np.empty((0, 0))

    def _fit(self, Z: Floats) -> None:
        variance, directions = np.linalg.eigh(Z.T @ Z / len(Z))  # Z is centred but for what was missing
        total = max(float(variance.sum()), 1e-12)
        kept = min(int(np.searchsorted(np.cumsum(variance[::-1]) / total, self.explained)) + 1, len(variance) - 1)
        left = len(variance) - kept
        rest = max(float(variance[:left].mean()), NUGGET * total / len(variance))
        inverse = np.concatenate([np.full(left, 1.0 / rest), 1.0 / np.maximum(variance[left:], rest)])
        self._precision = np.asarray((directions * inverse) @ directions.T)

    def _parts(self, Z: Floats) -> Floats:
        return np.asarray(Z * (Z @ self._precision) / Z.shape[1], dtype=np.float64)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"precision": self._precision}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._precision = arrays["precision"]

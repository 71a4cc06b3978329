"""One new row of each of many entities, scored at once: the same scores as `AutoregressionDetector`, step by step.

A memory is one number a channel and span, so a step costs the same whatever lies in the past.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import Floats
from forewarn.detection.forecast_error import AutoregressionDetector


class FleetAutoregression:
    """State of E entities with F channels each. Every entity has a detector that has learned it."""

    def __init__(self, detectors: Sequence[AutoregressionDetector]) -> None:
        """Raises ValueError without detectors or where they were not set alike, RuntimeError where one is untrained."""
        if len({(d.smoothing, d.clip) for d in detectors}) != 1:
            raise ValueError("a fleet needs detectors of one smoothing and one clip")
        scales, forecasters = zip(*(d.learned() for d in detectors), strict=True)
        self.clip, self.smoothing = detectors[0].clip, detectors[0].smoothing
        self.furthest, self.spans = scales[0].clip, forecasters[0].spans
        self._centre = np.stack([scale.centre for scale in scales])
        self._inverse = 1.0 / np.stack([scale.spread for scale in scales])
        self._weights = np.stack([forecaster.weights for forecaster in forecasters], axis=1)  # [S, E, F]
        self._offset = np.stack([forecaster.offset for forecaster in forecasters])
        self._error = 1.0 / np.stack([forecaster.spread for forecaster in forecasters])
        self._last = np.zeros_like(self._centre)
        self._memories: Floats | None = None
        self._smooth: Floats | None = None

    def step(self, rows: NDArray[np.floating[Any]]) -> Floats:
        """[E] scores of the next row of each entity, `rows` [E, F]; what is missing (NaN) counts as its last value."""
        Z = np.clip((rows - self._centre) * self._inverse, -self.furthest, self.furthest)
        np.copyto(Z, self._last, where=np.isnan(Z))
        if self._memories is None:
            self._memories = np.repeat(Z[None], len(self.spans), axis=0)
        forecast = self._offset.copy()
        for weights, memory in zip(self._weights, self._memories, strict=True):
            forecast += weights * memory
        errors = np.clip((Z - forecast) * self._error, -self.clip, self.clip)
        scores = np.einsum("ef,ef->e", errors, errors) / Z.shape[1]
        for span, memory in zip(self.spans, self._memories, strict=True):
            memory += (2.0 / (span + 1.0)) * (Z - memory)
        self._last = Z
        weight = 2.0 / (self.smoothing + 1.0) if self.smoothing > 1 else 1.0
        self._smooth = scores if self._smooth is None else self._smooth + weight * (scores - self._smooth)
        return self._smooth

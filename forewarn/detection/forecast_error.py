"""Anomalies as what channels' own pasts did not foretell: autoregression or a local polynomial (POLY)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.channel_forecast import SPANS, ChannelForecaster, polynomial_forecast
from forewarn.detection.detector import Floats
from forewarn.detection.series_detector import SeriesDetector
from forewarn.detection.whitening import precision_matrix, squared_distance_parts


@dataclass(eq=False)
class AutoregressionDetector(SeriesDetector):
    """Residuals of `ChannelForecaster`, squared in the directions in which they usually occur together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._forecaster: ChannelForecaster | None = None
        self._precision = np.empty((0, 0))

    @property
    def own_context(self) -> int:
        """See `SeriesDetector.own_context`."""
        return ChannelForecaster(np.empty(0), np.empty(0), np.empty(0)).context

    def _fit(self, Z: Floats) -> None:
        self._forecaster = ChannelForecaster.learn(Z)
        self._precision = precision_matrix(self._residuals(Z))

    def _parts(self, Z: Floats) -> Floats:
        return squared_distance_parts(self._residuals(Z), self._precision)

    def _residuals(self, Z: Floats) -> Floats:
        assert self._forecaster is not None
        return np.clip(self._forecaster.residuals(Z), -self.clip, self.clip)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._forecaster is not None
        f = self._forecaster
        return {"weights": f.weights, "offset": f.offset, "error": f.spread, "precision": self._precision}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._forecaster = ChannelForecaster(arrays["weights"], arrays["offset"], arrays["error"], SPANS)
        self._precision = arrays["precision"]


@dataclass(eq=False)
class PolynomialDetector(SeriesDetector):
    """What a polynomial through the last `window` rows misses by; nothing but the usual size of it is learned."""

    window: int = 20
    degree: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._spread = np.empty(0)
        self._precision = np.empty((0, 0))

    @property
    def own_context(self) -> int:
        """See `SeriesDetector.own_context`."""
        return self.window

    def _fit(self, Z: Floats) -> None:
        misses = Z - polynomial_forecast(Z, self.window, self.degree)
        self._spread = np.maximum(misses.std(axis=0), 1e-2)
        self._precision = precision_matrix(self._residuals(Z))

    def _parts(self, Z: Floats) -> Floats:
        return squared_distance_parts(self._residuals(Z), self._precision)

    def _residuals(self, Z: Floats) -> Floats:
        misses = (Z - polynomial_forecast(Z, self.window, self.degree)) / self._spread
        return np.clip(misses, -self.clip, self.clip)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"error": self._spread, "precision": self._precision}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._spread, self._precision = arrays["error"], arrays["precision"]

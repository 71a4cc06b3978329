"""Anomalies as what channels' own pasts did not foretell: autoregression or a local polynomial (POLY).

Channels are not whitened: to take the usual correlation of errors away made detection worse on two of three kinds of
data (docs/evaluation/multivariate.md).
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.channel_forecast import CONTEXT_IN_SPANS, SPANS, ChannelForecaster, polynomial_forecast
from forewarn.detection.detector import Floats
from forewarn.detection.scaling import ChannelScale
from forewarn.detection.series_detector import SeriesDetector


@dataclass(eq=False)
class _ForecastErrorDetector(SeriesDetector):
    """A part of a score is a squared error of a channel in its usual errors, a mean over channels: 1 is usual."""

    furthest: ClassVar[float] = 1000.0  # what stays far away is soon foretold and no longer counts

    @abstractmethod
    def _errors(self, Z: Floats) -> Floats:
        """[n, F] errors of the forecasts, in usual errors."""

    def _parts(self, Z: Floats) -> Floats:
        return np.asarray(np.clip(self._errors(Z), -self.clip, self.clip) ** 2 / Z.shape[1], dtype=np.float64)


@dataclass(eq=False)
class AutoregressionDetector(_ForecastErrorDetector):
    """Errors of `ChannelForecaster`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._forecaster: ChannelForecaster | None = None

    @property
    def own_context(self) -> int:
        """See `SeriesDetector.own_context`."""
        return CONTEXT_IN_SPANS * max(SPANS)

    def learned(self) -> tuple[ChannelScale, ChannelForecaster]:
        """What `learn` found. Raises RuntimeError before it."""
        if self._scale is None or self._forecaster is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        return self._scale, self._forecaster

    def _fit(self, Z: Floats) -> None:
        self._forecaster = ChannelForecaster.learn(Z)

    def _errors(self, Z: Floats) -> Floats:
        assert self._forecaster is not None
        return self._forecaster.residuals(Z)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._forecaster is not None
        return {
            "weights": self._forecaster.weights,
            "offset": self._forecaster.offset,
            "error": self._forecaster.spread,
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._forecaster = ChannelForecaster(arrays["weights"], arrays["offset"], arrays["error"], SPANS)


@dataclass(eq=False)
class PolynomialDetector(_ForecastErrorDetector):
    """What a polynomial through the last `window` rows misses by; only the usual size of that is learned."""

    window: int = 20
    degree: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._spread = np.empty(0)

    @property
    def own_context(self) -> int:
        """See `SeriesDetector.own_context`."""
        return self.window

    def _fit(self, Z: Floats) -> None:
        misses = Z - polynomial_forecast(Z, self.window, self.degree)
        self._spread = np.maximum(misses.std(axis=0), 1e-2)

    def _errors(self, Z: Floats) -> Floats:
        return (Z - polynomial_forecast(Z, self.window, self.degree)) / self._spread

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"error": self._spread}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._spread = arrays["error"]

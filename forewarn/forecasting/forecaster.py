"""What every forecaster promises: quantiles of the next cells of many series at once, from their past alone."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.neural import filled

Floats = NDArray[np.float64]
LEVELS = np.arange(1, 10) / 10  # the quantiles that a forecast gives
MEDIAN = 4
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Seasons:
    """Cells of a day and of a week."""

    day: int
    week: int

    @classmethod
    def of(cls, step_seconds: float) -> "Seasons":
        day = max(1, round(86_400 / step_seconds))
        return cls(day, 7 * day)


@runtime_checkable
class Forecaster(Protocol):
    """`learn` sees the past of all series; `forecast` may be called later, with a longer past of the same series.

    past [S, T]: cells in time order, NaN where missing. A forecast is float64 [S, steps, 9], finite and increasing
    along the quantiles LEVELS. Neither changes its argument, and the same past gives the same forecast.
    """

    name: str

    def learn(self, past: Floats, steps: int) -> None:
        """Fit to what can be learned before the first forecast; `steps` is the farthest that will be asked for."""

    def forecast(self, past: Floats, steps: int) -> Floats:
        """Quantiles of the `steps` cells that follow `past`."""


@runtime_checkable
class PointForecaster(Protocol):
    """One path a series; `conformal.Calibrated` makes a Forecaster of it."""

    name: str

    def learn(self, past: Floats, steps: int) -> None:
        """As for a Forecaster."""

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]: the middle of what will follow `past`, which has no missing cells."""


def scale_of(past: Floats, season: int) -> Floats:
    """[S] mean absolute change over one season (over one cell where the past is shorter than two seasons).

    What errors are divided by, after Hyndman and Koehler 2006. A series that never changes over a season is measured
    by its cell-to-cell changes, one that never changes at all by its size.
    """
    x = filled(past)
    size = np.abs(x).mean(axis=1)
    over_season, over_cell = (_mean_change(x, lag) for lag in (season, 1))
    change = np.where(over_season > TINY * size, over_season, over_cell)
    return np.where(change > TINY * size, change, np.where(size > 0, size, 1.0))


def _mean_change(x: Floats, lag: int) -> Floats:
    """[S]; zero where there are fewer than two lags."""
    if x.shape[1] < 2 * lag:
        return np.zeros(len(x))
    return np.asarray(np.abs(x[:, lag:] - x[:, :-lag]).mean(axis=1))


def ordered(quantiles: Floats) -> Floats:
    """The same quantiles, increasing along the last axis."""
    return np.sort(quantiles, axis=-1)


def pinball(quantiles: Floats, truth: Floats) -> Floats:
    """CRPS from quantiles, [..., 9] and [...] give [...]: twice the mean pinball loss over LEVELS.

    In the unit of `truth`; the more levels, the nearer to the integral (Laio and Tamea 2007).
    """
    miss = truth[..., None] - quantiles
    return np.asarray(2 * np.maximum(LEVELS * miss, (LEVELS - 1) * miss).mean(axis=-1))

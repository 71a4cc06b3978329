"""Intervals from past errors: quantiles of what a forecaster got wrong before, per series and step ahead."""

from collections.abc import Sequence

import numpy as np

from forewarn.forecasting.forecaster import LEVELS, Floats, PointForecaster, ordered, scale_of

_POOLED = 30  # errors of a series' own that weigh as much as those of all series
_NEAR = 0.25  # errors of steps between (1 - this) and (1 + this) times as far ahead count for a step, too


def origins_between(first: int, last: int, most: int) -> list[int]:
    """At most `most` times from `first` to `last` (both within), evenly spread but off any season."""
    if last < first:
        return []
    stride = max(1, -(-(last - first + 1) // most))
    return list(range(last, first - 1, -stride))[::-1]


def past_errors(forecaster: PointForecaster, past: Floats, origins: Sequence[int], steps: int) -> Floats:
    """[O, S, steps]: what came less what was said at each origin, from the cells before it alone."""
    return np.stack([past[:, at : at + steps] - forecaster.points(past[:, :at], steps) for at in origins])


class Calibrated:
    """A point forecaster with intervals: its points plus quantiles of its errors at origins of the past.

    Split conformal prediction (Vovk; Papadopoulos 2002) with errors of a series shrunk towards those of all series,
    in units of their scale. A forecaster that learns does so on the first part alone before its errors are taken,
    and then on all.
    """

    def __init__(self, points: PointForecaster, season: int, origins: int = 60) -> None:
        self.name = points.name
        self._points = points
        self._season = season
        self._origins = origins

    def learn(self, past: Floats, steps: int) -> None:
        """past [S, T] without missing cells."""
        first = max(past.shape[1] * 6 // 10, 2)
        origins = origins_between(first, past.shape[1] - steps, self._origins)
        scale = scale_of(past, self._season)
        if not origins:
            self._points.learn(past, steps)
            self._offsets = np.zeros((len(past), steps, len(LEVELS)))
            return
        self._points.learn(past[:, :first], steps)
        errors = past_errors(self._points, past, origins, steps)
        self._offsets = error_quantiles(errors, scale)
        self._points.learn(past, steps)

    def forecast(self, past: Floats, steps: int) -> Floats:
        """[S, steps, 9]."""
        return ordered(self._points.points(past, steps)[..., None] + self._offsets[:, :steps])


def error_quantiles(errors: Floats, scale: Floats) -> Floats:
    """[S, steps, 9] quantiles of errors [O, S, steps], shrunk towards those of all series (in units of scale [S])."""
    count, series, steps = errors.shape
    scaled = errors / scale[:, None]
    offsets = np.empty((series, steps, len(LEVELS)))
    for step in range(steps):
        low, high = int((step + 1) * (1 - _NEAR)), int((step + 1) * (1 + _NEAR)) + 1
        near = scaled[:, :, max(low - 1, 0) : high]
        rows = near.transpose(0, 2, 1).reshape(-1, series)
        own, pooled = np.quantile(rows, LEVELS, axis=0), np.quantile(rows, LEVELS)
        share = count / (count + _POOLED)
        offsets[:, step] = (share * own + (1 - share) * pooled[:, None]).T
    return np.asarray(offsets * scale[:, None, None])

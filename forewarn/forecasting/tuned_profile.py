"""Seasonal profiles of many shapes, weighed for each series by how well they did on its past."""

from typing import NamedTuple

import numpy as np

from forewarn.forecasting.conformal import origins_between
from forewarn.forecasting.forecaster import TINY, Floats, Seasons, scale_of
from forewarn.forecasting.seasonal_profile import weighted_profile
from forewarn.forecasting.simple import one_season_before

_WEIGHTS = (1.0, 0.6, 0.35, 0.2, 0.1)  # of the last day in the profile
_RECENT = (1, 3)  # cells that tell how far the present is off it
_KEPT = (0.0, 0.5, 0.7, 0.85, 0.93, 0.97, 1.0)  # share of that which is left after each hour
_WEEKLY = (0.0, 0.3, 0.6)  # share of the weekly deviation
_SHARPNESS = 8.0  # weight of a shape: its error to this negative power
_OWN = 30.0  # origins that make a series' own errors weigh as much as those of all series
_OLDEST = 0.3  # weight of the oldest error, the newest having 1


class _Parts(NamedTuple):
    """paths [W, K, S, steps]: profile and weekly share. off [W, R, S]: distance of the last cells from the profile."""

    paths: Floats
    off: Floats


class TunedProfile:
    """Mean of seasonal profiles weighed by inverse error per series and step ahead: simple exponential smoothing of
    season and level with its parameters averaged rather than chosen (Holt 1957; averaged after Bates and Granger 1969).
    """

    name = "tuned_profile"

    def __init__(self, seasons: Seasons, origins: int = 60) -> None:
        self.seasons = seasons
        self._origins = origins

    def learn(self, past: Floats, steps: int) -> None:
        """past [S, T] without missing cells; equal weights where it is too short for errors."""
        first = max(2 * self.seasons.day, past.shape[1] * 4 // 10)
        origins = origins_between(first, past.shape[1] - steps, self._origins)
        self._weekly = first >= 2 * self.seasons.week
        if not origins:
            self._share = np.full((self._count(), len(past), steps), 1.0 / self._count())
            return
        recency = _OLDEST ** np.linspace(1, 0, len(origins))
        error = np.zeros((self._count(), len(past), steps))
        for at, weight in zip(origins, recency / recency.sum(), strict=True):
            error += weight * np.abs(self._shapes(past[:, :at], steps) - past[:, at : at + steps])
        error = _smoothed(error / scale_of(past, self.seasons.day)[:, None])
        own = len(origins) / (len(origins) + _OWN)
        logs = own * np.log(error + TINY) + (1 - own) * np.log(error + TINY).mean(axis=1, keepdims=True)
        share = np.exp(-_SHARPNESS * (logs - logs.min(axis=0)))
        self._share = share / share.sum(axis=0)

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]; what was last seen where the past is shorter than two days."""
        if past.shape[1] < 2 * self.seasons.day:
            return np.repeat(past[:, -1:], steps, axis=1)
        return np.asarray((self._share[:, :, :steps] * self._shapes(past, steps)).sum(axis=0))

    def _count(self) -> int:
        return len(_WEIGHTS) * len(_RECENT) * len(_KEPT) * (len(_WEEKLY) if self._weekly else 1)

    def _shapes(self, past: Floats, steps: int) -> Floats:
        """[shapes, S, steps]."""
        parts = self._parts(past, steps)
        hours = np.arange(1, steps + 1) * 24 / self.seasons.day
        fade = np.array(_KEPT)[:, None] ** hours
        added = parts.off[:, :, None, :, None] * fade[:, None, :]  # [W, R, F, S, steps]
        shapes = parts.paths[:, :, None, None] + added[:, None]
        return np.asarray(shapes.reshape(-1, len(past), steps))

    def _parts(self, past: Floats, steps: int) -> _Parts:
        day, phase = self.seasons.day, np.arange(steps) % self.seasons.day
        paths, off = [], []
        for weight in _WEIGHTS:
            path = weighted_profile(past, day, weight)[:, phase]
            left = past[:, -day:] - weighted_profile(past[:, :-day], day, weight)
            off.append([left[:, -cells:].mean(axis=1) for cells in _RECENT])
            shares = _WEEKLY if self._weekly else (0.0,)
            paths.append([path + share * (self._deviation(past, steps) if share else 0.0) for share in shares])
        return _Parts(np.array(paths), np.array(off))

    def _deviation(self, past: Floats, steps: int) -> Floats:
        """[S, steps]: how far the same time a week before was off the profile as it was then."""
        week, day = self.seasons.week, self.seasons.day
        then = weighted_profile(past[:, :-week], day, 0.35)[:, np.arange(steps) % day]
        return np.asarray(one_season_before(past, steps, week) - then)


def _smoothed(error: Floats) -> Floats:
    """Mean over neighbouring steps ahead: errors of one step from few origins are noisy."""
    result = np.empty_like(error)
    for step in range(error.shape[2]):
        reach = step // 3
        result[..., step] = error[..., max(step - reach, 0) : step + reach + 1].mean(axis=2)
    return result

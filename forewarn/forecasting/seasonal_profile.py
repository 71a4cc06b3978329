"""Robust seasonal profile: the usual value at this time of the day and week, and how far the present is off it."""

import numpy as np

from forewarn.forecasting.forecaster import TINY, Floats, Seasons
from forewarn.forecasting.simple import one_season_before


class SeasonalProfile:
    """Profile of the day, a level that returns to it, and a share of the weekly deviation.

    The profile is an exponentially weighted mean of past days (`weight` 1: yesterday; 0: the median of seven). How far
    the last `recent` cells were off what it said before fades to `damping` within a day. `week` is the share of the
    deviation of the same time a week before. Where the swings of a positive series grow with its level, it works on
    logarithms.
    """

    def __init__(
        self, seasons: Seasons, weight: float = 0.35, recent: int = 3, damping: float = 0.05, week: float = 0.0
    ) -> None:
        self.seasons = seasons
        self.weight = weight
        self.recent = recent
        self.damping = damping
        self.week = week
        self.name = f"profile_{weight:g}_{damping:g}" + (f"_week_{week:g}" if week else "")

    def learn(self, past: Floats, steps: int) -> None:
        """Nothing that is kept: the profile is read from the past each time."""

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]; what was last seen where the past is shorter than two days."""
        day = self.seasons.day
        if past.shape[1] < 2 * day:
            return np.repeat(past[:, -1:], steps, axis=1)
        growing = swings_grow_with_level(past, day)[:, None]
        x = np.where(growing, np.log(np.maximum(past, TINY)), past)
        path = self._profile(x)[:, np.arange(steps) % day]
        if self.week and x.shape[1] >= self.seasons.week + day:
            path = path + self.week * self._weekly(x, steps)
        off = np.median(x[:, -self.recent :] - self._profile(x[:, :-day])[:, -self.recent :], axis=1, keepdims=True)
        path = path + off * self.damping ** (np.arange(1, steps + 1) / day)
        return np.where(growing, np.exp(np.where(growing, path, 0.0)), path)

    def _profile(self, x: Floats) -> Floats:
        return (
            weighted_profile(x, self.seasons.day, self.weight)
            if self.weight
            else median_profile(x, self.seasons.day, 7)
        )

    def _weekly(self, x: Floats, steps: int) -> Floats:
        """[S, steps]: how far the same time a week before was off the profile as it was then."""
        week, day = self.seasons.week, self.seasons.day
        then = self._profile(x[:, :-week])[:, np.arange(steps) % day]
        return np.asarray(one_season_before(x, steps, week) - then)


def weighted_profile(past: Floats, season: int, weight: float) -> Floats:
    """[S, season]: exponentially weighted mean of past seasons, aligned so that column 0 follows the last cell."""
    cycles = past.shape[1] // season
    blocks = past[:, past.shape[1] - cycles * season :].reshape(len(past), cycles, season)
    share = (1 - weight) ** np.arange(cycles - 1, -1, -1)
    return np.asarray(np.einsum("scp,c->sp", blocks, share / share.sum()))


def median_profile(past: Floats, season: int, cycles: int) -> Floats:
    """[S, season]: median of the last `cycles` seasons, aligned as `weighted_profile`."""
    there = min(cycles, past.shape[1] // season)
    blocks = past[:, past.shape[1] - there * season :].reshape(len(past), there, season)
    return np.median(blocks, axis=1)


def swings_grow_with_level(past: Floats, season: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """[S] whether a positive series' deviation within a season follows its mean (correlation of logs above a half)."""
    cycles = past.shape[1] // season
    if cycles < 4:
        return np.zeros(len(past), dtype=np.bool_)
    blocks = past[:, past.shape[1] - cycles * season :].reshape(len(past), cycles, season)
    level = np.log(np.maximum(np.abs(blocks.mean(axis=2)), 1e-12))
    swing = np.log(np.maximum(blocks.std(axis=2), 1e-12))
    level, swing = level - level.mean(axis=1, keepdims=True), swing - swing.mean(axis=1, keepdims=True)
    together = (level * swing).sum(axis=1)
    size = np.sqrt((level**2).sum(axis=1) * (swing**2).sum(axis=1))
    return np.asarray((past.min(axis=1) > 0) & (together > 0.5 * size) & (size > 1e-6))

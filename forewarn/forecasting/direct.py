"""Direct multi-horizon regression over all series: what a cell will be, from simple forecasts and recent changes."""

from typing import Any

import numpy as np

from forewarn.forecasting.forecaster import LEVELS, TINY, Floats, Seasons, ordered, scale_of
from forewarn.forecasting.seasonal_profile import median_profile, weighted_profile
from forewarn.forecasting.simple import one_season_before, robust_slope

_ROWS = 40_000  # of training: more make LightGBM slower, not better
_FAR = 8.0  # scaled targets beyond are cut: an outage must not bend a regression
_FITTED_LEVELS = (0, 2, 4, 6, 8)  # the quantiles between are interpolated
_SETTINGS: dict[str, Any] = {
    "objective": "quantile",
    "learning_rate": 0.06,
    "num_leaves": 15,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbose": -1,
    "force_row_wise": True,
    "deterministic": True,
    "num_threads": 1,
}
_ROUNDS = 80
_REWEIGHTINGS = 4
_SMALL = 0.05  # scaled errors below count alike
_OLDEST = 0.3  # weight of the oldest example, the newest having 1
_RIDGE = 0.01


def design(past: Floats, steps: int, seasons: Seasons, scale: Floats) -> Floats:
    """[S, steps, F]: simple forecasts of each cell ahead less the last value, and recent changes.

    All in units of `scale` [S]. What needs a longer past than there is stands at zero. Only `past` is read.
    """
    last = past[:, -1:]
    ahead = np.arange(1, steps + 1)
    paths = [_level(past, n) - last for n in (3, 6, 24, 72)]
    paths += [robust_slope(past, n)[:, None] * ahead for n in (6, 24, 72, past.shape[1])]
    paths += _seasonal_paths(past, steps, seasons)
    even = [np.broadcast_to(path, (len(past), steps)) for path in paths]
    return np.stack(even, axis=2) / scale[:, None, None]


def _level(past: Floats, cells: int) -> Floats:
    return np.asarray(past[:, -cells:].mean(axis=1, keepdims=True))


def _seasonal_paths(past: Floats, steps: int, seasons: Seasons) -> list[Floats]:
    """Profiles at the time of the cell ahead, less the last value; and how far the last cells were off them."""
    last = past[:, -1:]
    day, week = seasons.day, seasons.week
    phase = np.arange(steps) % day
    paths: list[Floats] = [np.zeros((len(past), 1))] * 11
    if past.shape[1] >= 2 * day:
        before = past[:, :-day]
        profiles = [weighted_profile(past, day, w)[:, phase] for w in (1.0, 0.6, 0.35, 0.15)]
        paths[:5] = [profile - last for profile in (*profiles, median_profile(past, day, 5)[:, phase])]
        paths[5:8] = [_off(past, weighted_profile(before, day, w), n) for w, n in ((1.0, 1), (1.0, 3), (0.35, 3))]
        paths[8] = _off(past, weighted_profile(before, day, 0.35), day)
    if past.shape[1] >= 2 * week:
        weekly = one_season_before(past, steps, week)
        paths[9] = weekly - last
        paths[10] = weekly - weighted_profile(past[:, :-week], day, 0.35)[:, phase]
    return paths


def _off(past: Floats, profile: Floats, cells: int) -> Floats:
    """[S, 1] mean distance of the last cells from a profile of what lay a day before them."""
    return np.asarray((past[:, -cells:] - profile[:, -cells:]).mean(axis=1, keepdims=True))


def examples(past: Floats, steps: int, seasons: Seasons, scale: Floats) -> tuple[Floats, Floats]:
    """Designs [O, S, steps, F] and scaled targets [O, S, steps] at origins over the past, in time order.

    The earliest third has too little past of its own and is left out.
    """
    first = past.shape[1] // 3
    stride = max(1, (past.shape[1] - steps - first) // 120)
    origins = sorted(range(past.shape[1] - steps, first, -stride))
    designs = np.stack([design(past[:, :at], steps, seasons, scale) for at in origins])
    came = np.stack([(past[:, at : at + steps] - past[:, at - 1 : at]) / scale[:, None] for at in origins])
    return designs, np.clip(came, -_FAR, _FAR)


class PooledRidge:
    """Ridge regression per step ahead, pooled over series and then bent towards each series' own past.

    Coefficients b_s of a series minimise |y − X b|² + λ |b − b_pool|²: a series with a short or noisy past keeps the
    pooled ones (an empirical-Bayes shrinkage).
    """

    name = "pooled_ridge"

    def __init__(self, seasons: Seasons, own: float = 1.0) -> None:
        self.seasons = seasons
        self.own = own  # weight of a series' own past, 0: pooled alone

    def learn(self, past: Floats, steps: int) -> None:
        """past [S, T] without missing cells."""
        self._scale = scale_of(past, self.seasons.day)
        X, y = examples(past, steps, self.seasons, self._scale)
        self.learn_examples(X, y)

    def learn_examples(self, X: Floats, y: Floats) -> None:
        """X [O, S, steps, F], y [O, S, steps]: least absolute errors by reweighted least squares, newer ones first."""
        X = np.clip(X, -_FAR, _FAR)
        weight = np.broadcast_to(self._recency(len(X))[:, None, None], y.shape)
        self._weights = np.zeros((X.shape[1], X.shape[2], X.shape[3]))
        for _ in range(_REWEIGHTINGS):
            left = np.abs(y - self.scaled(X))
            self._weights = self._solved(X, y, weight / np.maximum(left, _SMALL))

    @staticmethod
    def _recency(origins: int) -> Floats:
        return np.asarray(_OLDEST ** np.linspace(1, 0, origins))

    def _solved(self, X: Floats, y: Floats, weight: Floats) -> Floats:
        """[S, steps, F]."""
        even = np.eye(X.shape[3])
        gram = np.einsum("oshf,osh,oshg->shfg", X, weight, X, optimize=True)
        cross = np.einsum("oshf,osh->shf", X, weight * y)
        total = gram.sum(axis=0)
        size = np.trace(total, axis1=1, axis2=2)[:, None, None] / X.shape[3] + TINY
        pooled = np.linalg.solve(total + _RIDGE * size * even, cross.sum(axis=0)[..., None])[..., 0]
        if not self.own:
            return np.broadcast_to(pooled, cross.shape)
        prior = (np.trace(gram, axis1=2, axis2=3)[..., None, None] / X.shape[3] + TINY) / self.own
        return np.asarray(np.linalg.solve(gram + prior * even, (cross + prior[..., 0] * pooled)[..., None])[..., 0])

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]."""
        X = design(past, steps, self.seasons, self._scale)
        return past[:, -1:] + self.scaled(X) * self._scale[:, None]

    def scaled(self, X: Floats) -> Floats:
        """[..., S, steps] from X [..., S, steps, F], in units of scale above the last value."""
        return np.asarray(np.einsum("...shf,shf->...sh", np.clip(X, -_FAR, _FAR), self._weights[:, : X.shape[-2]]))


class BoostedQuantiles:
    """LightGBM quantile regression of what the pooled ridge leaves, one model a quantile over all series and steps.

    Beside the design it knows how far ahead a cell lies, the phase of the day and how restless a series was.
    """

    name = "boosted"

    def __init__(self, seasons: Seasons, seed: int = 0, rounds: int = _ROUNDS) -> None:
        self.seasons = seasons
        self.seed = seed
        self.rounds = rounds

    def learn(self, past: Floats, steps: int) -> None:
        """past [S, T] without missing cells."""
        import lightgbm

        self._scale = scale_of(past, self.seasons.day)
        X, y = examples(past, steps, self.seasons, self._scale)
        self._ridge = PooledRidge(self.seasons)
        self._ridge.learn_examples(X, y)
        middle = self._ridge.scaled(X)
        rows, left = self._rows(X, middle), (y - middle).reshape(-1)
        chosen = np.random.default_rng(self.seed).permutation(len(left))[:_ROWS]
        data = lightgbm.Dataset(rows[chosen], left[chosen], params={"max_bin": _SETTINGS["max_bin"], "verbose": -1})
        self._boosters = [
            lightgbm.train({**_SETTINGS, "alpha": LEVELS[k], "seed": self.seed}, data, self.rounds)
            for k in _FITTED_LEVELS
        ]

    def forecast(self, past: Floats, steps: int) -> Floats:
        """[S, steps, 9]."""
        X = design(past, steps, self.seasons, self._scale)
        middle = self._ridge.scaled(X)
        rows = self._rows(X[None], middle[None])
        fitted = np.stack([np.asarray(b.predict(rows, num_threads=1)) for b in self._boosters], axis=-1)
        fitted = ordered(fitted.reshape(*middle.shape, -1))
        levels = LEVELS[list(_FITTED_LEVELS)]
        low = np.searchsorted(levels, LEVELS, side="right") - 1
        low = np.clip(low, 0, len(levels) - 2)
        share = (LEVELS - levels[low]) / (levels[low + 1] - levels[low])
        between = fitted[..., low] * (1 - share) + fitted[..., low + 1] * share
        return np.asarray(past[:, -1:, None] + (middle[..., None] + between) * self._scale[:, None, None])

    def _rows(self, X: Floats, middle: Floats) -> Floats:
        """[O * S * steps, F + 3]."""
        ahead = np.broadcast_to(np.arange(X.shape[2]), middle.shape)
        restless = np.broadcast_to(np.abs(X[..., :4]).mean(axis=(2, 3))[..., None], middle.shape)
        spread = X.std(axis=3)
        more = np.stack([middle, ahead, restless, spread], axis=-1)
        return np.asarray(np.concatenate([np.clip(X, -_FAR, _FAR), more], axis=-1).reshape(-1, X.shape[-1] + 4))

"""A made-up world in which engineers act on what the serving model tells, and four ways to label what they left."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.censoring import ActionCurve
from forewarn.classification.hazard import HazardModel
from forewarn.features.batch import features_at
from forewarn.features.definitions import FEATURE_COUNT, HORIZON_STEPS, INDEX
from forewarn.features.labels import time_to_limit
from forewarn.forecasting.shapes import draw

F64 = NDArray[np.float64]
STEPS, AT = 1200, np.arange(60, 1100, 12)
ACT_SHARE = 0.7  # of the warnings are acted upon
DELAY = (10, 90)  # steps until somebody acts
THRESHOLD = 0.3
LABELLINGS = ("naive", "censored", "weighted", "oracle")


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """N series nobody touched: features [N, M, F], steps and observed [N, M]; what would have come."""

    features: F64
    steps: F64
    observed: F64

    @classmethod
    def made(cls, rng: np.random.Generator, series: int) -> "World":
        """Random shapes (`forewarn.forecasting.shapes`) with a limit of 1."""
        grid = np.stack([draw(rng, STEPS) for _ in range(series)])
        limits = np.ones_like(grid)
        steps, observed = time_to_limit(grid, limits)
        before = AT[None, :] <= np.where((grid >= 1).any(1), (grid >= 1).argmax(1), STEPS + 1)[:, None]
        came, seen = steps[:, AT].astype(np.float64), observed[:, AT].astype(np.float64)
        came[~before] = np.nan  # a series ends with its first failure
        return cls(features_at(grid, limits, AT), came, seen)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool [N, M]: rows to learn from."""
        return ~np.isnan(self.steps) & ~np.isnan(self.features[:, :, INDEX["ratio"]])

    def flat(self, mask: NDArray[np.bool_]) -> tuple[F64, F64, F64]:
        """Features, steps and observed of some rows."""
        return self.features[mask], self.steps[mask], self.observed[mask]


@dataclass(frozen=True, slots=True, eq=False)
class Lived:
    """What became of a world under a model: told, acted and over in cells [N], inf where that never was."""

    world: World
    told: F64
    acted: F64
    over: F64

    @classmethod
    def under(cls, world: World, model: HazardModel | None, rng: np.random.Generator) -> "Lived":
        """Engineers act on ACT_SHARE of the first warnings of a series, some time after; a failure may be faster."""
        n = len(world.steps)
        acts, delay = rng.random(n) < ACT_SHARE, rng.uniform(*DELAY, n)
        failed = np.min(np.where(world.alive, AT + world.steps, np.inf), axis=1)
        told = np.full(n, np.inf) if model is None else _first_warning(world, model)
        acted = np.where(acts & (told + delay < failed), told + delay, np.inf)
        over = np.minimum(np.minimum(acted, failed), np.minimum(told + HORIZON_STEPS[3], STEPS))
        return cls(world, told, acted, over)

    def rows(self, labelling: str) -> tuple[F64, F64, F64, F64]:
        """Features, steps, observed and inverse weights of what a training sees."""
        world = self.world
        mask = world.alive & (AT[None, :] < self.acted[:, None])
        acted = np.broadcast_to(self.acted[:, None] - AT, mask.shape)[mask]
        features, steps, observed = world.flat(mask)
        inverse = np.ones((len(steps), len(HORIZON_STEPS)))
        if labelling == "oracle":
            return features, steps, observed, inverse
        averted = np.isfinite(acted)
        steps = np.where(averted, np.inf, steps)
        if labelling == "naive":  # somebody acted, nothing failed: the warning was false
            return features, steps, observed, inverse
        observed = np.minimum(observed, acted)
        if labelling == "weighted":
            warned, over = (np.broadcast_to(v[:, None] - AT, mask.shape)[mask] for v in (self.told, self.over))
            passed = over <= 0
            warned, over = np.where(passed, np.inf, warned), np.where(passed, np.inf, over)
            inverse = self._curve().inverse(steps, observed, warned, over, HORIZON_STEPS)
        return features, steps, observed, inverse

    def _curve(self) -> ActionCurve:
        there = np.isfinite(self.told)
        return ActionCurve.fit((self.over - self.told)[there], np.isfinite(self.acted)[there])


def _first_warning(world: World, model: HazardModel) -> F64:
    """Cell of the second scoring in a row above the threshold, inf without one: [N]."""
    probability = np.zeros(world.steps.shape)
    alive = world.alive
    probability[alive] = 1.0 - model.survival(world.features[alive])[:, 3]
    above = probability >= THRESHOLD
    twice = above[:, 1:] & above[:, :-1]
    return np.where(twice.any(1), AT[1:][twice.argmax(1)], np.inf)


def learn(parts: list[tuple[F64, F64, F64, F64]], seed: int) -> HazardModel:
    """The hazard model of the product on these rows."""
    features, steps, observed, inverse = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert features.shape[1] == FEATURE_COUNT
    return HazardModel.fit(features, steps, observed, seed=seed, inverse=inverse, rounds=100, few_failures=False)

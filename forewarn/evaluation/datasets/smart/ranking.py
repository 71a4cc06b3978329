"""Boosted trees that rank disks by how soon they fail, learned from disk-weeks whose outcome was known by the cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError
from forewarn.evaluation.datasets.smart.features import F32, Features
from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, Floats, History, Ints

_HEALTHY = 12  # rows of disks that go on a row of one that fails; more costs time and gains nothing
_MAX_ROWS = 80_000
_MEMBERS = 2  # seeds a horizon
_ROUNDS = 150
_PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 10,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "force_col_wise": True,
}
_UNTUNED: dict[str, Any] = {"objective": "binary"}  # LightGBM's own settings
_COMMON: dict[str, Any] = {"num_threads": 1, "verbosity": -1, "deterministic": True}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Disk-weeks to learn from: disk, day, and days to failure (inf: none before `cut`), each [n]."""

    disk: Ints
    day: Ints
    left: Floats

    @classmethod
    def before(cls, history: History, cut: int, horizon: int, seed: int) -> "Sample":
        """Weeks up to `cut - horizon`: all of disks that fail within the horizon, and a share of the others.

        What happens from `cut` on is not looked at: a disk that fails later counts as going on.
        """
        parts = [_week(history, day, cut, horizon) for day in range(cut - horizon, int(history.day.min()), -7)]
        if not parts:
            raise DatasetError(f"no week lies {horizon} days before the first test day: give a later --test-from")
        disk, day, left = (np.concatenate(column) for column in zip(*parts, strict=True))
        fails = left <= horizon
        if not fails.any():
            raise DatasetError("no disk fails before the first test day: give a later --test-from")
        share = min(_HEALTHY * fails.sum(), _MAX_ROWS) / max(1, (~fails).sum())
        keep = fails | (np.random.default_rng(seed).random(len(fails)) < share)
        return cls(disk[keep], day[keep], left[keep])


def _week(history: History, day: int, cut: int, horizon: int) -> tuple[Ints, Ints, Floats]:
    disk = history.running(day)
    known = history.failed[disk] & (history.end[disk] <= cut)
    return disk, np.full(len(disk), day), np.where(known, history.end[disk] - day, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Mean log-odds of several boosters over the columns `columns` of the features."""

    boosters: tuple[Any, ...]
    columns: Ints

    def scores(self, table: NDArray[np.floating[Any]]) -> Floats:
        """[n]: the higher, the sooner to fail."""
        rows = table[:, self.columns]
        votes = [b.predict(rows, raw_score=True, num_threads=1) for b in self.boosters]
        return np.asarray(np.mean(votes, axis=0), dtype=np.float64)


def fit(features: Features, cut: int, horizons: Sequence[int], seed: int) -> Ranker:
    """Trees over all features: the mean over horizons and seeds. One ranking serves every horizon.

    Failing within 7 days and within 30 days rank the disks nearly alike; each has few failures to learn from, so
    their mean is steadier than either. Both learn from weeks whose outcome within their own horizon was known at `cut`.
    """
    boosters = []
    for horizon in horizons:
        sample = Sample.before(features.history, cut, horizon, seed)
        table, names = features.at(sample.disk, sample.day)
        fails, model = sample.left <= horizon, [names.index("model")]
        for member in range(_MEMBERS):
            parameters = {**_PARAMETERS, **_COMMON, "seed": seed + member}
            boosters.append(_train(parameters, table, fails, _ROUNDS, model))
    return Ranker(tuple(boosters), np.arange(len(names)))


def fit_untuned(features: Features, cut: int, horizon: int, seed: int) -> Ranker:
    """LightGBM with its own settings on the attributes as they are."""
    sample = Sample.before(features.history, cut, horizon, seed)
    table, names = features.at(sample.disk, sample.day)
    columns = np.array([names.index(f"value_{a}") for a in ATTRIBUTES])
    parameters = {**_UNTUNED, **_COMMON, "seed": seed}
    return Ranker((_train(parameters, table[:, columns], sample.left <= horizon, 100, []),), columns)


def _train(parameters: dict[str, Any], table: F32, fails: NDArray[np.bool_], rounds: int, categories: list[int]) -> Any:
    import lightgbm

    data = lightgbm.Dataset(table, fails.astype(np.float32), categorical_feature=categories)
    return lightgbm.train(parameters, data, num_boost_round=rounds)

"""Boosted trees that rank disks by how soon they fail, learned from days whose outcome was known by the cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError
from forewarn.evaluation.datasets.smart.features import Features
from forewarn.evaluation.datasets.smart.fleet import symptomatic
from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, F32, Floats, History, Ints

_FAILING = 80_000  # rows of disks that fail, at most
_SYMPTOMATIC, _CLEAN = 30_000, 20_000  # rows of disks that go on, with and without a symptom; more gained nothing
_UNTUNED_ROWS = 50_000
_MEMBERS = 2  # seeds a horizon
_ROUNDS = 150
_PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 10,
    "min_data_in_leaf": 150,  # a disk that fails brings a row a day
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
    """Disks at midnights to learn from, each [n]: disk, day, whether it failed within the horizon, log-odds `offset`.

    Of the disks that go on, those that show a symptom are drawn more often than the others: they contend for the
    budget. Drawing a share q of them multiplies the odds of failing by 1 / q; `offset` = log(odds of all / q) tells
    the trees, which would otherwise spend their rounds on it.
    """

    disk: Ints
    day: Ints
    fails: NDArray[np.bool_]
    offset: Floats

    @classmethod
    def before(cls, history: History, cut: int, horizon: int, seed: int, even: bool = False) -> "Sample":
        """Up to `cut - horizon`: the last `horizon` days of each disk that fails, and a share of the weeks of others.

        Whether a disk failed within the horizon of such a day was known at `cut`. A disk that fails shows more than
        one of its days: alerts come on any day before the failure, and a week's grid would meet it once. even: weeks
        alone, those with and without a symptom drawn alike. Raises DatasetError where there is nothing to learn from.
        """
        parts = [_week(history, day, horizon) for day in range(cut - horizon, int(history.day.min()), -7)]
        if not parts:
            raise DatasetError(f"no week lies {horizon} days before the first test day: give a later --test-from")
        disk, day, fails = (np.concatenate(column) for column in zip(*parts, strict=True))
        rng = np.random.default_rng(seed)
        shows = symptomatic(history, disk, day)
        shares = _shares(shows, ~fails, even)
        drawn = ~fails & (rng.random(len(fails)) < shares[shows.astype(np.int64)])
        ends = (disk[fails], day[fails]) if even else _last_days(history, cut, horizon, rng)
        failing = len(ends[0])
        if not failing:
            raise DatasetError("no disk fails before the first test day: give a later --test-from")
        odds = failing / max(1, (~fails).sum())
        disk, day = np.concatenate([ends[0], disk[drawn]]), np.concatenate([ends[1], day[drawn]])
        share = shares[symptomatic(history, disk, day).astype(np.int64)]
        return cls(disk, day, np.arange(len(disk)) < failing, np.log(odds) - np.log(share))


def _shares(shows: NDArray[np.bool_], goes_on: NDArray[np.bool_], even: bool) -> Floats:
    """[2] share to draw of the rows that go on without and with a symptom."""
    if even:
        return np.full(2, _share(_UNTUNED_ROWS, goes_on))
    return np.array([_share(_CLEAN, goes_on & ~shows), _share(_SYMPTOMATIC, goes_on & shows)])


def _share(wanted: int, rows: NDArray[np.bool_]) -> float:
    return min(1.0, wanted / max(1, int(rows.sum())))


def _week(history: History, day: int, horizon: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    disk = history.running(day)
    fails = history.failed[disk] & (history.end[disk] <= day + horizon)
    return disk, np.full(len(disk), day), fails


def _last_days(history: History, cut: int, horizon: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Disk and midnight of the last `horizon` days of disks that had failed by `cut`, those up to `cut - horizon`."""
    failed = np.flatnonzero(history.failed & (history.end <= cut))
    disk = np.repeat(failed, horizon)
    day = history.end[disk] - np.tile(np.arange(1, horizon + 1), len(failed))
    known = np.flatnonzero((day >= history.begin[disk]) & (day <= cut - horizon))
    kept = np.sort(rng.permutation(known)[:_FAILING])
    return disk[kept], day[kept]


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
    seeds = [(horizon, seed + member) for horizon in horizons for member in range(_MEMBERS)]
    samples = [Sample.before(features.history, cut, horizon, one) for horizon, one in seeds]
    table, rows, names = _at_once(features, samples)
    boosters = [
        _train({**_PARAMETERS, **_COMMON, "seed": one}, table[here], sample, _ROUNDS, [names.index("model")])
        for (_, one), sample, here in zip(seeds, samples, rows, strict=True)
    ]
    return Ranker(tuple(boosters), np.arange(len(names)))


def _at_once(features: Features, samples: Sequence[Sample]) -> tuple[F32, list[Ints], tuple[str, ...]]:
    """Features of all samples' disks and days, each made once, where each sample's rows stand in them, and names."""
    disks = len(features.history.end)
    keys, rows = np.unique(np.concatenate([s.day * disks + s.disk for s in samples]), return_inverse=True)
    table, names = features.at(keys % disks, keys // disks)
    return table, np.split(rows, np.cumsum([len(s.day) for s in samples])[:-1]), names


def fit_untuned(features: Features, cut: int, horizon: int, seed: int) -> Ranker:
    """LightGBM with its own settings on the attributes as they are."""
    sample = Sample.before(features.history, cut, horizon, seed, even=True)
    table, names = features.at(sample.disk, sample.day)
    columns = np.array([names.index(f"value_{a}") for a in ATTRIBUTES])
    return Ranker((_train({**_UNTUNED, **_COMMON, "seed": seed}, table[:, columns], sample, 100, []),), columns)


def _train(parameters: dict[str, Any], table: F32, sample: Sample, rounds: int, categories: list[int]) -> Any:
    import lightgbm

    data = lightgbm.Dataset(
        table, sample.fails.astype(np.float32), init_score=sample.offset, categorical_feature=categories
    )
    return lightgbm.train(parameters, data, num_boost_round=rounds)

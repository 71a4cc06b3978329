"""Candidates compete over the past of many capacities, and the best few serve each series and band of horizons.

At origins of the past every candidate says the maxima that followed, and gets intervals from its errors at the earlier
ones (`calibration.py`). The later origins tell how much each counts for each series (`weighing.py`): a mean of the
quantiles of the best few serves, the direct quantiles where nothing is known yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.capacity.calibration import offsets, width, windows_of, with_offsets
from forewarn.forecasting.capacity.direct import DirectQuantiles, unit_of
from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LEVELS, LOW, Floats, came, crps, increasing
from forewarn.forecasting.capacity.paths import DAY, PATHS
from forewarn.forecasting.capacity.signal_class import CLASSES, class_of
from forewarn.forecasting.capacity.weighing import SMALL, surely_better, weights_of

DIRECT, WEIGHED = "direct", "weighed"
BANDS = (slice(0, 3), slice(3, 7), slice(7, 12))  # up to 6 h, to 48 h, to a week
Rows = NDArray[np.int64]
_ORIGINS = 16
_FEWEST_ORIGINS = 3  # on either side of the half: fewer decide nothing
_CONTENDERS = 256
_SHOWN = 0.1  # share of the weight from which a candidate is named
_UNIT = 0.3  # of the present unit: what a series is measured by at an earlier origin is no less


class MaximaForecaster(Protocol):
    """Another candidate, which may know more of the series than their past: `rows` says which series are asked for."""

    name: str

    def learn(self, past: Floats, rows: Rows) -> None:
        """Fit to the first cells of the past of the series `rows`, alone."""

    def maxima(self, past: Floats, rows: Rows) -> Floats:
        """[len(rows), K] for each of HOURS after past [len(rows), T]; may be asked at any earlier time, too."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who serves a class up to a horizon, and how it did on later origins: CRPS relative to the direct quantiles.

    members: who holds a tenth of the weight over all series of the class. What they say together stands in
    `relative_crps` under `chosen`; the weights were made from the same origins.
    """

    signal_class: str
    first_hours: int
    last_hours: int
    series: int
    chosen: str
    members: tuple[str, ...]
    relative_crps: Mapping[str, float]
    coverage_80: float | None


@dataclass(slots=True, eq=False)
class _Evidence:
    """truth [O, S, K] in units above the last cell, NaN where not seen yet; said {name: [O, S, K] or [O, S, K, 13]}."""

    truth: Floats
    said: dict[str, Floats] = field(default_factory=dict)


class CapacityContest:
    """`learn` holds the contest on past [S, T]; `quantiles` forecasts the maxima after a past of the same series."""

    def __init__(self, direct: DirectQuantiles, others: Sequence[MaximaForecaster] = ()) -> None:
        self._direct = direct
        self._others = {other.name: other for other in others}
        self.standings: list[Standing] = []

    def learn(self, past: Floats) -> None:
        """past [S, T], T >= 24, without missing cells. Series of one length learn together, at most 256 of them: the
        others take the offsets of their class."""
        self.signal_class = class_of(past)
        self._rows = np.unique(np.linspace(0, len(past) - 1, min(len(past), _CONTENDERS)).astype(np.int64))
        self._class = self.signal_class[self._rows]
        self._offsets: dict[str, Floats] = {}
        names = (DIRECT, *PATHS, *self._others)
        self._weights = [{name: np.full(len(past), float(name == DIRECT)) for name in names} for _ in BANDS]
        self.standings = []
        origins = origins_of(past.shape[1])
        evidence = self._evidence(past[self._rows], origins)
        half = len(origins) // 2
        if half >= _FEWEST_ORIGINS:
            offsets = self._all_offsets(evidence, origins, slice(0, half))
            held = {name: with_offsets(offsets[name][self._rows], said[half:]) for name, said in evidence.said.items()}
            told = windows_of(evidence.truth[:, 0], origins)
            for index in np.unique(self._class):
                self._decide(int(index), held, evidence.truth[half:], told)
        if origins:
            self._offsets = self._all_offsets(evidence, origins, slice(None))
        for name in self._serving() & self._others.keys():
            self._others[name].learn(past, np.arange(len(past)))

    def quantiles(self, past: Floats) -> Floats:
        """[S, K, 13] quantiles of the maxima of the next HOURS."""
        unit, every = unit_of(past), np.arange(len(past))
        result = np.zeros((*past.shape[:1], len(HOURS), len(LEVELS)))
        for name in sorted(self._serving()):
            said = with_offsets(self._offsets.get(name), self._scaled(name, past, unit, every)[None])[0]
            for ahead, weights in zip(BANDS, self._weights, strict=True):
                result[:, ahead] += weights[name][:, None, None] * said[:, ahead]
        return increasing(past[:, -1:, None] + result * unit[:, None, None])

    def method(self, row: int) -> str:
        """Who serves a series at the farthest horizons: names joined by ' + ', the weightiest first."""
        return " + ".join(_weighty({name: float(weight[row]) for name, weight in self._weights[-1].items()}))

    def _serving(self) -> set[str]:
        return {name for weights in self._weights for name, weight in weights.items() if weight.any()}

    def coverage(self, row: int) -> float | None:
        """Share of what came within the 80 % interval at later origins of its class, farthest band; None: not known."""
        name = CLASSES[self.signal_class[row]]
        own = [s.coverage_80 for s in self.standings if s.signal_class == name and s.coverage_80 is not None]
        return own[-1] if own else None

    def _scaled(self, name: str, past: Floats, unit: Floats, rows: Rows) -> Floats:
        """What a candidate says in units above the last cell: [S, K, 13] of the direct quantiles, [S, K] of paths."""
        last = past[:, -1:]
        if name == DIRECT:
            return (self._direct.quantiles(past) - last[..., None]) / unit[:, None, None]
        maxima = self._others[name].maxima(past, rows) if name in self._others else PATHS[name](past)
        return (maxima - last) / unit[:, None]

    def _evidence(self, past: Floats, origins: Sequence[int]) -> _Evidence:
        """What every candidate said at each origin from the cells before it, and what came."""
        said: dict[str, list[Floats]] = {name: [] for name in (DIRECT, *PATHS, *self._others)}
        truth = []
        least = _UNIT * unit_of(past)
        learned = len(origins) // 4  # before it, another candidate would say what it has learned
        for other in self._others.values() if origins else ():
            other.learn(past[:, : origins[learned]], self._rows)
        for i, at in enumerate(origins):
            known = past[:, :at]
            # a series that had stood still by then has no unit of its own: its errors would swamp those of its class
            unit = np.maximum(unit_of(known), least)
            truth.append((came(past, at) - known[:, -1:]) / unit[:, None])
            for name, each in said.items():
                early = name in self._others and i < learned
                each.append(truth[-1] * np.nan if early else self._scaled(name, known, unit, self._rows))
        return _Evidence(np.array(truth), {name: np.array(each) for name, each in said.items()})

    def _all_offsets(self, evidence: _Evidence, origins: Sequence[int], part: slice) -> dict[str, Floats]:
        """Of each candidate what is to be added to what it says of each series, [S, K, 13]: of a path quantiles of its
        errors, of the direct quantiles what each level lacked, in widths of their interval."""
        truth, within = evidence.truth[part], origins[part]
        lacking = (truth[..., None] - evidence.said[DIRECT][part]) / width(evidence.said[DIRECT][part])
        errors = {name: truth - said[part] for name, said in evidence.said.items() if name != DIRECT}
        return {name: self._by_class(error, within) for name, error in (errors | {DIRECT: lacking}).items()}

    def _by_class(self, errors: Floats, origins: Sequence[int]) -> Floats:
        result = np.zeros((len(self.signal_class), *errors.shape[2:3], len(LEVELS)))
        for index in np.unique(self._class):
            mine = np.flatnonzero(self._class == index)
            own, pooled = offsets(errors[:, mine], origins)
            result[self.signal_class == index] = pooled
            result[self._rows[mine]] = own
        return result

    def _decide(self, index: int, held: Mapping[str, Floats], truth: Floats, told: Floats) -> None:
        rows = np.flatnonzero(self._class == index)
        for band, ahead in enumerate(BANDS):
            if np.isfinite(truth[:, rows, ahead]).any():
                part = {name: said[:, rows, ahead] for name, said in held.items()}
                self._weigh(index, band, part, truth[:, rows, ahead], float(told[ahead.start]))

    def _weigh(self, index: int, band: int, said: Mapping[str, Floats], truth: Floats, told: float) -> None:
        """Weights for one class and band from said {name: [O, s, k, 13]}, the direct quantiles first, and truth
        [O, s, k] of so many windows."""
        error = {name: _mean_crps(quantiles, truth) for name, quantiles in said.items()}
        taking = [name for name in said if name not in self._others or surely_better(error[name], error[DIRECT])]
        own, of_class = weights_of(np.stack([error[name] for name in taking]), told)
        for name, mine, usual in zip(taking, own, of_class, strict=True):
            self._weights[band][name][self.signal_class == index] = usual
            self._weights[band][name][self._rows[self._class == index]] = mine
        mean = np.sum([mine[:, None, None] * said[name] for name, mine in zip(taking, own, strict=True)], axis=0)
        weights = dict(zip(taking, own.mean(axis=1), strict=True))
        self._stand(index, band, error | {WEIGHED: _mean_crps(mean, truth)}, mean, truth, weights)

    def _stand(
        self, index: int, band: int, error: Mapping[str, Floats], mean: Floats, truth: Floats,
        weights: Mapping[str, float],
    ) -> None:  # fmt: skip
        known, ahead = np.isfinite(truth), BANDS[band]
        inside = (mean[..., LOW] <= truth) & (truth <= mean[..., HIGH])
        standing = Standing(
            signal_class=CLASSES[index],
            first_hours=HOURS[ahead.start],
            last_hours=HOURS[ahead.stop - 1],
            series=truth.shape[1],
            chosen=WEIGHED,
            members=tuple(_weighty(weights)),
            relative_crps={name: float(np.exp(_mean_log(e) - _mean_log(error[DIRECT]))) for name, e in error.items()},
            coverage_80=float(inside[known].mean()),
        )
        self.standings.append(standing)


def origins_of(cells: int) -> list[int]:
    """Cells of the past after which is forecast, at least a day and three tenths of it in, off any season."""
    first = max(DAY, cells * 3 // 10)
    stride = max(1, (cells - 1 - first) // _ORIGINS)
    stride += 1 if stride > 1 and stride % 24 in (0, 12) else 0
    return list(range(cells - 1, first - 1, -stride))[::-1]


def _mean_crps(quantiles: Floats, truth: Floats) -> Floats:
    """[s] mean over origins and horizons that were seen."""
    loss = crps(quantiles, truth)
    known = np.isfinite(loss)
    return np.asarray(np.where(known, loss, 0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1))


def _mean_log(error: Floats) -> float:
    return float(np.log(error + SMALL).mean())


def _weighty(weights: Mapping[str, float]) -> list[str]:
    """Names that hold a tenth of the weight or more, the weightiest first."""
    return sorted((name for name, weight in weights.items() if weight >= _SHOWN), key=lambda name: -weights[name])

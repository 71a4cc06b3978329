"""Degradation ahead: response times and error rates foretold from the load that bends them.

Each signal learns from its own past how it bends with the request rate of its entity
(`forewarn.forecasting.load_bend`). The load at which it reaches its limit is a limit of the load, and the load is
foretold as any other series, with its seasons and its trend. Where the relation is weak, nothing is said.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.context import context_of
from forewarn.features.definitions import INDEX, MEDIUM_CELLS, MEDIUM_STEPS
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.forecasting.load_bend import Bend, fit_bend
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.drivers import Subject
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.load_text import Bent, sentence
from forewarn.risk.narrative import slow_down
from forewarn.risk.records import Driver
from forewarn.risk.scorer import PAGING_HORIZON, Scores, score
from forewarn.telemetry.queries import query_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

FIT_EVERY = 15  # steps between two fits, a multiple of MEDIUM_STEPS
_BENDING = frozenset({"latency_breach", "error_rate_climb", "queue_saturation"})
_WEIGHTS = np.array([0.3, 0.4, 0.3])  # of the 10, 50 and 90 % quantile of the critical load
_ENOUGH_REQUESTS = 100.0  # of which a rate is told: of fewer it is mostly chance
_WIDE = 3  # medium cells in a block where one has fewer requests
_WORTH_TELLING = 0.05  # share of the risk that must go with the growth of the load


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Bends that were learned before a cell: rows of the signals [n] and of their loads [n], and which are smoothed."""

    cell: int
    rows: I64
    loads: I64
    thin: NDArray[np.bool_]
    bend: Bend


@dataclass(frozen=True, slots=True, eq=False)
class _Foretold:
    """What load says about rows of a snapshot: their positions [n], in the fit [n], features of the load with each
    critical load as its limit [3 n, F], and the scores that follow [n]."""

    at: I64
    fitted: I64
    features: F64
    scores: Scores


class LoadOutlook:
    """What the loads in one engine's windows say about its limited signals. Its state follows from the windows."""

    def __init__(self, windows: WindowStore) -> None:
        self._windows = windows
        self._scorer = FirstDayScorer()  # whatever was learned of resources, loads do not leak
        self._load_of = np.empty(0, np.int64)  # by row: that of its load, -1 where it has none or does not bend
        self._version = -1
        self._fitted: _Fitted | None = None
        self._now: _Foretold | None = None
        self._own = np.empty(0)  # probabilities of the last snapshot by the signals alone
        self._scale = 1.0

    def beside(self, own: Scores, seen: Snapshot, end: int, threshold: float) -> Scores:
        """The scores of a snapshot at the start of cell `end`, with those by load where these are worse.

        threshold: from which on a risk of `own` is told; odds by load are scaled so that it holds for them, too.
        """
        self._own, self._now = own.probability, None
        self._scale = threshold / (1 - threshold) * (1 - self._scorer.threshold) / self._scorer.threshold
        self._learn(seen, end)
        self._now = self._foretell(seen, end)
        return own if self._now is None else _worse(own, self._now)

    def most_gone(self, index: int) -> float:
        """Share of the risk of a row of the last snapshot that can go with the signal's own reasons: load stays."""
        place = self._place(index)
        if self._now is None or place < 0:
            return 1.0
        by_load = float(self._now.scores.probability[place])
        return 1.0 - by_load / max(by_load, float(self._own[index]), 1e-9)

    def reasons(self, index: int, subject: Subject, step_seconds: float) -> list[Driver]:
        """The load as a reason for the risk of a row of the last snapshot; nothing unless the risk falls by 5 % with
        the load held as it is (the deletion test)."""
        place = self._place(index)
        if self._now is None or self._fitted is None or place < 0:
            return []
        own, by_load = float(self._own[index]), float(self._now.scores.probability[place])
        held_features = slow_down(self._now.features[3 * place : 3 * place + 3], 1.0)
        held = max(own, float(self._scored(held_features).probability[0]))
        gone = float(np.clip(1.0 - held / max(own, by_load, 1e-9), 0.0, 1.0))
        if gone < _WORTH_TELLING:
            return []
        k = int(self._now.fitted[place])
        load, bend = self._windows.series[int(self._fitted.loads[k])], self._fitted.bend
        middle = self._now.features[3 * place + 1]
        low, critical, high = (float(c) for c in bend.critical[k])
        now = Bent(
            load, float(middle[INDEX["ratio"]]) * critical, float(middle[INDEX["slope_1h"]]) * critical,
            (low, critical, high), float(bend.explained[k]), max(own, by_load), held,
        )  # fmt: skip
        return [Driver(load.entity, load.name, sentence(subject, now, step_seconds), gone, query=query_of(load))]

    def _place(self, index: int) -> int:
        found = np.flatnonzero(self._now.at == index) if self._now is not None else np.empty(0, np.int64)
        return int(found[0]) if len(found) else -1

    def _learn(self, seen: Snapshot, end: int) -> None:
        """Fit the bends anew where FIT_EVERY steps have passed: from the windows, so that a restart finds the same."""
        cell = end - end % FIT_EVERY
        if self._fitted is not None and self._fitted.cell == cell and not self._windows.reused:
            return
        if self._version != self._windows.version:
            self._load_of, self._version = _loads(self._windows), self._windows.version
        bending = self._load_of[seen.rows] >= 0
        rows = seen.rows[bending]
        loads = self._load_of[rows]
        value, load = self._windows.medium_history(rows, cell), self._windows.medium_history(loads, cell)
        thin = _thin(load, self._windows.step_ns / 1e9)
        value[thin], load[thin] = _blocks(value[thin]), _blocks(load[thin])
        bend = fit_bend(load.astype(np.float64), value.astype(np.float64), seen.limits[bending])
        known = bend.known
        self._fitted = _Fitted(cell, rows[known], loads[known], thin[known], bend.of(known))

    def _foretell(self, seen: Snapshot, end: int) -> _Foretold | None:
        fitted = self._fitted
        if fitted is None or not len(fitted.rows):
            return None
        position = np.full(len(self._windows.series), -1, np.int64)
        position[seen.rows] = np.arange(len(seen.rows))
        at = position[fitted.rows]
        there = np.flatnonzero(at >= 0)
        if not len(there):
            return None
        features = np.empty((len(there), 3, len(INDEX)))
        for thin in (False, True):
            own = fitted.thin[there] == thin
            which = there[own]
            loads, limits = np.repeat(fitted.loads[which], 3), fitted.bend.critical[which].ravel()
            width = _WIDE * MEDIUM_STEPS if thin else MEDIUM_STEPS
            features[own] = self._windows.smoothed_features(loads, end, limits, width).reshape(-1, 3, len(INDEX))
        flat = features.reshape(-1, len(INDEX))
        high = flat[:, INDEX["new_high"]]
        flat[:, INDEX["new_high"]] = np.maximum(high, 0.0)  # that it was so high and bore it, the bend knows already
        return _Foretold(at[there], there, flat, self._scored(flat))

    def _scored(self, features: F64) -> Scores:
        """Scores of n signals from the features of their loads with each critical load as its limit [3 n, F]."""
        each = score(self._scorer, features)
        survival = np.einsum("nkh,k->nh", each.survival.reshape(-1, 3, each.survival.shape[1]), _WEIGHTS)
        odds = self._scale * (1.0 - survival) / np.maximum(survival, 1e-9)
        quantiles = each.quantiles.reshape(-1, 3, 3)[
            :, np.arange(3), np.arange(3)
        ]  # early of the low, late of the high
        return Scores(1.0 / (1.0 + odds), np.sort(quantiles, axis=1))


def _loads(windows: WindowStore) -> I64:
    """By row, that of the load which may bend it: of signals that queue, and only where load is not what is limited."""
    load = context_of(windows.series).load
    bends = np.array([failure_mode(s.signal).mode in _BENDING for s in windows.series], np.bool_)
    return np.where(bends & (load != np.arange(len(load))), load, -1)


def _thin(load: F32, step_seconds: float) -> NDArray[np.bool_]:
    """Loads of which a medium cell has too few requests to tell a rate: bool [n]."""
    there = np.isfinite(load)
    mean = np.where(there, load, 0.0).sum(1) / np.maximum(there.sum(1), 1)
    return np.asarray(mean * MEDIUM_STEPS * step_seconds < _ENOUGH_REQUESTS)


def _blocks(cells: F32) -> F32:
    """Means of _WIDE medium cells, at the last of each, NaN at the others: float32 [n, MEDIUM_CELLS]."""
    parts = cells.reshape(len(cells), MEDIUM_CELLS // _WIDE, _WIDE)
    there = np.isfinite(parts)
    mean = np.where(there, parts, 0.0).sum(2) / np.maximum(there.sum(2), 1)
    out = np.full_like(parts, np.nan)
    out[:, :, -1] = np.where(there.any(2), mean, np.nan)
    return out.reshape(cells.shape)


def _worse(own: Scores, foretold: _Foretold) -> Scores:
    """Where load makes a failure likelier within the paging horizon, its time counts, too."""
    survival, quantiles = own.survival.copy(), own.quantiles.copy()
    at, by_load = foretold.at, foretold.scores
    leads = by_load.survival[:, PAGING_HORIZON] < survival[at, PAGING_HORIZON]
    survival[at] = np.minimum(survival[at], by_load.survival)
    quantiles[at[leads]] = by_load.quantiles[leads]
    return Scores(survival, quantiles)

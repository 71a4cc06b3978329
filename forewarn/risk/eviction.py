"""Stores that evict: a cache that stands at its memory limit, and throws out what is old, does not fail by it."""

import re

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import FINE_CELLS, MAX_STEPS
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.risk.scorer import Scores
from forewarn.telemetry.samples import Kind, Series

B = NDArray[np.bool_]
I64 = NDArray[np.int64]

DECIDED_STEPS = 15  # so close to its bound, what a store does there is soon seen, and a page comes too late to act on
_MEMORY = re.compile(r"(redis|valkey|memcached)[._](memory|current_bytes|bytes|used_memory)")
_EVICTED = re.compile(r"evicted|evictions")


class Evictions:
    """Which limited series of one engine's windows are the memory of a store that counts what it evicts."""

    def __init__(self, windows: WindowStore) -> None:
        self._windows = windows
        self._version = -1
        self._counter: I64 = np.empty(0, np.int64)  # by row: that of the evictions of its store, -1 where it has none

    def evicting(self, rows: I64, end: int) -> B:
        """Which rows are the memory of a store that evicted in the last FINE_CELLS: bool [R]."""
        counters, found = self._counters(rows), np.zeros(len(rows), np.bool_)
        own = np.flatnonzero(counters >= 0)
        if len(own):
            found[own] = (self._windows.history(counters[own], end, FINE_CELLS) > 0).any(1)
        return found

    def spared(self, scores: Scores, seen: Snapshot, end: int) -> Scores:
        """The scores with those of stores that evict by design set to 'never'."""
        spared = self.evicting(seen.rows, end)
        if not spared.any():
            return scores
        survival, quantiles = scores.survival.copy(), scores.quantiles.copy()
        survival[spared], quantiles[spared] = 1.0, MAX_STEPS
        return Scores(survival, quantiles)

    def undecided(self, rows: I64, scores: Scores, threshold: float) -> B:
        """Rows of which it is about to be seen whether the store evicts or refuses, and nothing is gained by telling:
        bool [R]."""
        soon = (scores.quantiles[:, 1] <= DECIDED_STEPS) & (scores.probability >= threshold)
        return soon & (self._counters(rows) >= 0)

    def _counters(self, rows: I64) -> I64:
        if self._version != self._windows.version:
            self._counter, self._version = _counters(self._windows.series), self._windows.version
        return self._counter[rows]


def _counters(series: list[Series]) -> I64:
    """By row of the memory of a store, the row of its counter of evictions; -1 elsewhere."""
    evicted = {s.entity: row for row, s in enumerate(series) if s.kind != Kind.GAUGE and _EVICTED.search(s.signal)}
    found = [evicted.get(s.entity, -1) if _MEMORY.search(s.signal) else -1 for s in series]
    return np.array(found, np.int64)

"""Watches all signals of each entity of a namespace for what their own past did not foretell. Pure, like the engine.

All that it knows follows from the windows and from what was told: an entity's channels are learned from its last
LEARNED cells at fixed cells of the event clock, so a restart finds the same scores.
"""

from datetime import UTC, datetime, timedelta
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.channels import (
    BLOCKS,
    SMOOTHING,
    Channels,
    entity_means,
    excess_of_blocks,
    learn,
    log_score,
)
from forewarn.detection.empirical import tail_p_value
from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.features.windows import WindowStore
from forewarn.risk.anomaly_text import describe
from forewarn.risk.records import AnomalyObserved
from forewarn.telemetry.connectors.names import is_derived
from forewarn.telemetry.samples import Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LEARNED = 270  # cells from which an entity is learned: with less history nothing is said about it
LEARN_EVERY = 90  # cells; with LEARNED no more than the windows hold. Entities take turns, so that steps cost the same
MOST_CHANNELS = 60  # of an entity: those that moved first, then those that came first
BLOCK_CELLS = LEARNED // BLOCKS
CALM_CELLS = 20  # after which an anomaly has ended
_PRESENT = 2 / 3  # share of the learned cells in which a channel must have a value
_AIM = 1 / 3  # of the budget is aimed for: what is usual later on is not quite what was learned
_CALM = 0.05  # p-value above which an entity is calm
_AT_ONCE = 500  # entities that are learned together
_WEEK = timedelta(days=7)
# Peaks of a made-up entity beside those seen: with few entities a threshold is not drawn from a handful of numbers.
_PRIOR = 0.3 * (-np.log(1.0 - (np.arange(24) + 0.5) / 24) - 1.0)


class AnomalyWatch:
    """Anomalies of the entities of one engine.

    budget: of false alarms, kept by construction of the threshold and by restraint: each anomaly told about an entity
    in the last week makes the next one ten times harder to tell. derived_lag: cells by which signals derived from logs
    and spans come later than the others; they are looked at so much later.
    """

    def __init__(
        self, windows: WindowStore, step_seconds: float, budget: FalseAlarmBudget, derived_lag: int = 0
    ) -> None:
        self._windows = windows
        self._step_seconds = step_seconds
        self._allowed = _AIM * budget.allowed(BLOCK_CELLS * step_seconds)  # episodes in a block of an entity
        self._lag = derived_lag
        self._cell = -1  # cells before it are scored
        self._entities: list[str] = []
        self._starts = np.empty(0, np.int64)  # first column of each entity
        self._rows = np.empty(0, np.int64)  # windows' row of each column
        self._derived = np.empty(0, np.bool_)
        self._channels: Channels | None = None
        self._peaks = np.empty((BLOCKS, 0))
        self._usual = np.empty(0)  # mean of the peaks of each entity
        self._calm = np.empty(0, np.int64)  # cells since each entity was last unusual
        self._reference = np.exp(np.sort(_PRIOR))
        self._p = np.empty(0)  # [E] see `_p_values`, of the last cell
        self._open: dict[str, AnomalyObserved] = {}
        self._told: dict[str, list[datetime]] = {}  # openings of the last week
        self._silent_until: dict[str, datetime] = {}  # of the last told before a restart

    @property
    def watched(self) -> int:
        """Entities with enough history."""
        return len(self._entities)

    def restore(self, told: list[AnomalyObserved]) -> None:
        """Take up what was told before a restart, in its order."""
        for anomaly in told:
            self._silent_until[anomaly.entity] = anomaly.at
            if anomaly.state == "open":
                self._open[anomaly.entity] = anomaly
                self._told.setdefault(anomaly.entity, []).append(anomaly.at)
            else:
                self._open.pop(anomaly.entity, None)

    def step(self, end: int) -> list[AnomalyObserved]:
        """Score all cells before `end`; call it before rows of the windows that were reused are forgotten."""
        self._leave(self._owners(self._windows.reused))
        if self._cell < 0 or not 0 <= end - self._cell <= LEARN_EVERY:
            self._begin(end - 1)
        told: list[AnomalyObserved] = []
        while self._cell < end:
            self._learn_due(self._cell)
            self._advance(self._cell)
            self._cell += 1
            if end - self._cell < CALM_CELLS:  # what passed longer ago is of no use to anybody
                told += self._tell(self._cell)
        return told

    def _begin(self, end: int) -> None:
        """Learn each entity where it was due last, and go on from there, without telling."""
        self._leave(set(self._entities))
        for cell in range(end - LEARN_EVERY, end):
            self._learn_due(cell)
            self._advance(cell)
        self._cell = end

    def _learn_due(self, cell: int) -> None:
        """Learn the entities whose turn it is at the start of this cell."""
        turn = cell % LEARN_EVERY
        due = [e for e in self._windows.entity_rows if crc32(e.encode()) % LEARN_EVERY == turn]
        if not due:
            return
        calm = dict(zip(self._entities, self._calm.tolist(), strict=True))
        self._leave(set(due))
        for i in range(0, len(due), _AT_ONCE):
            self._learn(due[i : i + _AT_ONCE], cell, calm)
        self._usual = self._peaks.mean(axis=0)
        excess = excess_of_blocks(self._peaks).ravel()
        self._reference = np.exp(np.sort(np.concatenate([_PRIOR, excess])))

    def _learn(self, entities: list[str], cell: int, calm: dict[str, int]) -> None:
        rows = np.array([r for e in entities for r in self._windows.entity_rows[e]], np.int64)
        owner = np.repeat(np.arange(len(entities)), [len(self._windows.entity_rows[e]) for e in entities])
        derived = np.array([is_derived(self._windows.series[r].signal) for r in rows.tolist()], np.bool_)
        past = self._history(rows, derived, cell, LEARNED)
        kept = _chosen(past, owner)
        if not len(kept):
            return
        starts = np.flatnonzero(np.diff(owner[kept], prepend=-1))
        names = [entities[i] for i in owner[kept][starts].tolist()]
        channels, peaks = learn(past[kept], starts)
        self._starts = np.concatenate([self._starts, starts + len(self._rows)])
        self._rows = np.concatenate([self._rows, rows[kept]])
        self._derived = np.concatenate([self._derived, derived[kept]])
        self._entities += names
        self._peaks = np.concatenate([self._peaks, peaks], axis=1)
        self._calm = np.concatenate([self._calm, np.array([calm.get(e, CALM_CELLS) for e in names], np.int64)])
        self._channels = channels if self._channels is None else self._channels.beside(channels)

    def _owners(self, rows: set[int]) -> set[str]:
        """Entities with a channel in one of these rows, which are another series' now."""
        if not rows:
            return set()
        columns = np.flatnonzero(np.isin(self._rows, np.fromiter(rows, np.int64, len(rows))))
        return {self._entities[i] for i in (np.searchsorted(self._starts, columns, side="right") - 1).tolist()}

    def _leave(self, gone: set[str]) -> None:
        """Forget the channels of these entities."""
        stay = np.array([e not in gone for e in self._entities], np.bool_)
        if self._channels is None or stay.all():
            return
        counts = np.diff(np.append(self._starts, len(self._rows)))
        columns = np.flatnonzero(np.repeat(stay, counts))
        self._entities = [e for e in self._entities if e not in gone]
        self._starts = np.concatenate([[0], np.cumsum(counts[stay])[:-1]]).astype(np.int64)[: len(self._entities)]
        self._rows, self._derived = self._rows[columns], self._derived[columns]
        self._peaks, self._calm, self._usual = self._peaks[:, stay], self._calm[stay], self._usual[stay]
        self._channels = self._channels.take(columns) if len(columns) else None

    def _history(self, rows: I64, derived: NDArray[np.bool_], end: int, count: int) -> F64:
        """[R, count] the cells before `end`; those of derived signals end earlier."""
        out = self._windows.history(rows, end, count).astype(np.float64)
        if self._lag and derived.any():
            out[derived] = self._windows.history(rows[derived], end - self._lag, count)
        return out

    def _advance(self, cell: int) -> None:
        """Take one cell of all channels."""
        if self._channels is None:
            return
        self._channels.step(self._history(self._rows, self._derived, cell + 1, 1)[:, 0])
        self._p = self._p_values()
        self._calm = np.where(self._p > _CALM, self._calm + 1, 0)

    def _p_values(self) -> F64:
        """[E] share of usual blocks that are as unusual somewhere."""
        assert self._channels is not None
        excess = log_score(entity_means(self._channels.parts, self._starts)) - self._usual
        return tail_p_value(np.exp(excess), self._reference)

    def _tell(self, end: int) -> list[AnomalyObserved]:
        """Anomalies that open or end at the start of cell `end`."""
        if self._channels is None:
            return []
        at = datetime.fromtimestamp(end * self._step_seconds, UTC)
        p, told = self._p, []
        for i in np.flatnonzero(p < self._allowed).tolist():
            entity = self._entities[i]
            if entity not in self._open and self._may_tell(entity, at) and p[i] < self._threshold(entity, at):
                told.append(self._opened(i, float(p[i]), at, end))
                self._open[entity] = told[-1]
                self._told.setdefault(entity, []).append(at)
        for entity in [e for e in self._open if self._may_tell(e, at)]:
            i = self._entities.index(entity) if entity in self._entities else -1
            if i < 0 or self._calm[i] >= CALM_CELLS:
                told.append(_ended(self._open.pop(entity), at, float(p[i]) if i >= 0 else None))
        return told

    def _may_tell(self, entity: str, at: datetime) -> bool:
        return entity not in self._silent_until or at > self._silent_until[entity]

    def _threshold(self, entity: str, at: datetime) -> float:
        recent = [t for t in self._told.get(entity, ()) if t > at - _WEEK]
        if recent:
            self._told[entity] = recent
        return float(self._allowed * 0.1 ** len(recent))

    def _opened(self, i: int, p_value: float, at: datetime, end: int) -> AnomalyObserved:
        assert self._channels is not None
        stop = self._starts[i + 1] if i + 1 < len(self._starts) else len(self._rows)
        own = slice(self._starts[i], stop)
        parts, rows = self._channels.parts[own], self._rows[own]
        past = self._history(rows, self._derived[own], end, LEARNED)
        series: list[Series] = [self._windows.series[r] for r in rows.tolist()]
        drivers, text = describe(self._entities[i], series, parts, past, SMOOTHING, self._step_seconds)
        return AnomalyObserved(self._entities[i], at, at, "open", p_value, drivers, text)


def _ended(opened: AnomalyObserved, at: datetime, p_value: float | None) -> AnomalyObserved:
    """`p_value` None: the entity has too little recent history to tell."""
    if p_value is None:
        text = f"{opened.entity} is not watched any more: too few of its signals come"
    else:
        text = f"{opened.entity} behaves as usual again, or what was unusual has lasted and become usual"
    return AnomalyObserved(opened.entity, opened.since, at, "ended", 1.0 if p_value is None else p_value, [], text)


def _chosen(past: F64, owner: I64) -> I64:
    """Which channels [R, n] to follow, in order of their owner: present, of each owner at most MOST_CHANNELS."""
    there = ~np.isnan(past)
    present = np.flatnonzero((there.mean(axis=1) >= _PRESENT) & there[:, : LEARNED // 10].any(axis=1))
    if not len(present):
        return present
    moved = np.nanmax(past[present], axis=1) > np.nanmin(past[present], axis=1)
    order = present[np.lexsort((present, ~moved, owner[present]))]
    first = np.searchsorted(owner[order], owner[order], side="left")
    return np.sort(order[np.arange(len(order)) - first < MOST_CHANNELS])

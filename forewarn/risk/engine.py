"""The engine of one namespace: samples in, risks and observations out. Pure: no log, no store, no clock of its own."""

from dataclasses import replace
from datetime import UTC, datetime
from math import ceil

import numpy as np
from numpy.typing import NDArray

from forewarn.features.labels import RECOVERY_STEPS
from forewarn.features.series_budget import SeriesBudget
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.risk import narrative, silence
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.dependencies import Dependencies, Objective, objectives_of
from forewarn.risk.episodes import WITHDRAW, Episode, counted, step
from forewarn.risk.eviction import Evictions
from forewarn.risk.explain import Surroundings, Telling, explain
from forewarn.risk.load import LoadOutlook
from forewarn.risk.past import Key, Past
from forewarn.risk.records import (
    Abstained,
    FailureObserved,
    Observation,
    Recovered,
    Risk,
    episode_of,
)
from forewarn.risk.regime import Regimes
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, Scores, score
from forewarn.telemetry.connectors.names import is_derived
from forewarn.telemetry.samples import SampleBatch, Series

F64 = NDArray[np.float64]

BULK_STEPS = 30  # a message that spans more comes from an import, not from a stream
LOOK_BACK_STEPS = 16  # how far back is scored what time passed over; the windows reach so far


class RiskEngine:
    """Windows, scores and episodes of one namespace.

    Call `ingest` for each batch and, when `due` names a cell, `assess` it. After a restart, `restore` what was
    told before the batches are read again.
    """

    def __init__(
        self, namespace: str, step_seconds: float, lateness_seconds: float, score_every: int,
        budget: SeriesBudget | None = None,
    ) -> None:  # fmt: skip
        self.namespace = namespace
        self.windows = WindowStore(step_seconds, budget)
        self._dependencies = Dependencies(self.windows)
        self._regimes = Regimes(self.windows)
        self._loads = LoadOutlook(self.windows)
        self._evictions = Evictions(self.windows)
        self._latecomers = silence.Latecomers()
        self._ratios: tuple[list[int], list[float]] = [], []  # error ratios of the last assessment: rows and limits
        self.step_seconds = step_seconds
        self.scored_cell = -1
        self.bulk = False  # the newest batch was history
        self.derived_ns = -1  # newest event time of what is derived from logs and spans
        self.calls: dict[str, set[str]] = {}  # the service graph: client -> servers
        self.peers: list[RiskEngine] = [self]  # engines that hold the rest of the namespace
        self.read_until_ns = -1  # event time up to which all is here, though nothing so new has come
        self._hold = ceil(lateness_seconds / step_seconds)
        self._score_every = score_every
        self._episodes: dict[Series, Episode] = {}
        self._failing: dict[Series, int] = {}  # cell in which the signal was last at its limit
        self._silent = np.zeros(0, np.int8)  # by row, number of the reason in silence.REASONS
        self._active = np.zeros(0, np.bool_)  # by row, whether it has an episode, is failing or may be restored
        self._identity: dict[Key, str] = {}  # episode, by entity and signal
        self._known: dict[Key, tuple[Episode, int]] = {}  # restored: episode, and last cell at the limit (-1: none)
        self._recovered_cell: dict[Key, int] = {}  # of a recovery that was told before a restart and comes again
        self._told_cell: dict[Key, int] = {}  # of the last risk before a restart
        self._restored = False  # and not scored since
        self._watched_cell = -1  # failures were looked for in all cells before it

    def ingest(self, batch: SampleBatch) -> None:
        """Take samples of this namespace. A batch that spans more than BULK_STEPS is history: it fills the windows,
        and nothing is scored until batches of the present come. Signals derived from logs and spans tell neither this
        nor the time: they come in batches of their own, later than the metrics or, when they catch up, before them."""
        derived = bool(batch.series) and is_derived(batch.series[0].signal)
        self.windows.put(batch, clock=not derived)
        if not derived:
            self.bulk = len(batch) > 0 and int(np.ptp(batch.times)) > BULK_STEPS * self.windows.step_ns
        elif len(batch):
            self.derived_ns = max(self.derived_ns, int(batch.times.max()))

    def due(self) -> int | None:
        """The cell up to which can be scored now, None where nothing new is complete or history is being filled in."""
        if any(peer.bulk for peer in self.peers):
            return None
        # one event clock for the namespace: that of the part of which least was read
        clocks = [max(p.windows.newest_ns, p.read_until_ns) for p in self.peers if p.windows.newest_ns >= 0]
        newest = min(clocks) if clocks else max(peer.derived_ns for peer in self.peers)
        end = newest // self.windows.step_ns - self._hold + 1
        if newest < 0 or end < self.scored_cell + self._score_every:
            return None
        return int(end)

    def passes_over(self, batch: SampleBatch) -> bool:
        """Whether cells that are due would never be scored if this batch were taken before they are."""
        if self.scored_cell < 0 or not len(batch) or is_derived(batch.series[0].signal):
            return False
        end = int(batch.times.max()) // self.windows.step_ns - self._hold + 1
        return end - self.scored_cell > LOOK_BACK_STEPS and self.due() is not None

    def pending(self) -> list[int]:
        """All cells up to which is to be scored now, the newest last, so that what is told does not depend on how
        samples arrive: also those that passed while nobody scored, up to LOOK_BACK_STEPS back (what was to be told of
        cells before came too late for anybody; failures are looked for in them, too); [] where none is due."""
        newest, every = self.due(), self._score_every
        if newest is None or self.scored_cell < 0:
            return [] if newest is None else [newest]
        ends = list(range(self.scored_cell + every, newest + 1, every))[-max(LOOK_BACK_STEPS // every, 1) :]
        self.scored_cell = ends[0] - every
        return ends

    def restore(self, past: Past) -> None:
        """Take up what was told before a restart; what was told after the last watermark is not told again."""
        self._restored = True
        self._told_cell = {key: self._cell(at) for key, at in past.predicted.items()}
        if past.scored_until is not None:
            self.scored_cell = self._cell(past.scored_until)
            self._watched_cell = self.scored_cell - RECOVERY_STEPS  # what still fails was at its limit since then
        for key, risk in past.risks.items():
            cell, p50 = self._cell(risk.predicted_at), risk.time_to_failure.p50
            left = np.inf if p50 is None else p50 / self.step_seconds  # JSON has no infinity
            self._known[key] = Episode(0, 0, cell, cell, cell + left, risk.probability, risk.revision), -1
            self._identity[key] = risk.episode
        for key, event in past.events.items():
            cell, episode = self._cell(event.at), self._known.get(key, (Episode(), -1))[0]
            if isinstance(event, FailureObserved):
                self._known[key] = episode, max(self._watched_cell, cell)
            elif cell + RECOVERY_STEPS > self.scored_cell:  # told after the watermark
                self._known[key] = episode, cell - 1
                self._recovered_cell[key] = cell

    def _cell(self, at: datetime) -> int:
        return round(at.timestamp() * 1e9) // self.windows.step_ns

    def assess(self, end: int, scorer: Scorer) -> tuple[list[Risk], list[Observation], Snapshot, Scores]:
        """Score everything at the start of cell `end`; what is to be told, and the scores for whoever keeps them."""
        self._dependencies.extend(end, self._objectives())
        seen = self._regimes.look(self.windows.snapshot(end), end)
        self._ratios = self._dependencies.ratios_among(seen.rows, seen.limits)
        scores = self._scores(seen, end, scorer)
        self._make_room()
        if self._watched_cell < 0:
            self._watched_cell = end - self._score_every
        if self._restored:
            self._restored = False
            self._rehearse(end, scorer)
        observations = self._failures(seen, end)
        reasons, probability = self._reasons(seen, scores, end, scorer.threshold), scores.probability
        quiet = (reasons == self._silent[seen.rows]) & (probability < scorer.threshold) & ~self._active[seen.rows]
        tellings = []
        for i in np.flatnonzero(~quiet).tolist():
            row = int(seen.rows[i])
            series = self.windows.series[row]
            if reasons[i] != self._silent[row]:
                self._silent[row] = reasons[i]
                observations.append(self._abstained(series, int(reasons[i]), end))
            if not reasons[i] and series not in self._failing:
                telling = self._tell(series, scores, i, end, scorer)
                if telling is not None:
                    tellings.append(telling)
                self._active[row] = self._has_state(series)
        self.scored_cell = self._watched_cell = end
        windows = [peer.windows for peer in self.peers]
        around = Surroundings(self.windows, windows, self.calls, self._regimes, self._loads, self.step_seconds, end)
        return explain(tellings, seen, scores, around, scorer), observations, seen, scores

    def predicted(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which rows the last assessment predicted something: neither abstained from nor failing now, bool [n]."""
        heard = self._silent[rows] == 0
        if self._failing:
            heard &= np.fromiter((self.windows.series[r] not in self._failing for r in rows), np.bool_, len(rows))
        return heard

    def _scores(self, seen: Snapshot, end: int, scorer: Scorer) -> Scores:
        """By each signal alone, by what bends it, and without what stands at its limit by design."""
        scores = self._loads.beside(score(scorer, seen.features), seen, end, scorer.threshold)
        return self._evictions.spared(scores, seen, end)

    def _rehearse(self, end: int, scorer: Scorer) -> None:
        """Count the scorings before `end` anew, without telling: a restart lost how many in a row were above."""
        states = [Episode()] * len(self.windows.series)
        for past in range(end - WITHDRAW * self._score_every, end, self._score_every):
            seen = self._regimes.read(self.windows.snapshot(past), past)
            probability = self._scores(seen, past, scorer).probability
            none = np.zeros(len(seen.rows), np.bool_)
            for i in np.flatnonzero(silence.reasons(seen, none, none) == 0).tolist():
                row = int(seen.rows[i])
                states[row] = counted(states[row], float(probability[i]), scorer.threshold)
        for row, state in enumerate(states):
            series = self.windows.series[row]
            if state.above or (series.entity, series.name) in self._known:
                self._take_up(series)
                self._active[row] = True
                if series not in self._failing:  # while it fails nothing is counted
                    told = self._episodes.get(series, Episode())
                    self._episodes[series] = replace(told, above=state.above, below=state.below)

    def _objectives(self) -> dict[str, Objective]:
        """What callers allow each entity, see `objectives_of`; none while nobody calls anybody."""
        if not self.calls:
            return {}
        made = set().union(*(peer._dependencies.made for peer in self.peers))
        return objectives_of(((peer.windows, *peer._ratios) for peer in self.peers), self.calls, made)

    def _time(self, cell: int) -> datetime:
        return datetime.fromtimestamp(cell * self.step_seconds, UTC)

    def _make_room(self) -> None:
        """Extend what is kept by row to the series that are new."""
        known, count = len(self._active), len(self.windows.series)
        for row in self.windows.reused:
            if row < known:
                self._silent[row], self._active[row] = 0, bool(self._known)
        self.windows.reused.clear()
        if known == count:
            return
        new = self.windows.series[known:]
        restored = [bool(self._known) and (s.entity, s.name) in self._known for s in new]
        self._silent = np.concatenate([self._silent, np.zeros(len(new), np.int8)])
        self._active = np.concatenate([self._active, np.array(restored, np.bool_)])

    def _has_state(self, series: Series) -> bool:
        episode = self._episodes.get(series)
        if episode is not None and not episode.open and not episode.above:
            del self._episodes[series]  # as good as none
            episode = None
        return episode is not None or series in self._failing

    def _reasons(self, seen: Snapshot, scores: Scores, end: int, threshold: float) -> NDArray[np.int8]:
        """Why nothing is predicted for each row, as numbers of silence.REASONS; 0 where there is no reason."""
        late = self._latecomers.late(self.windows, seen, end)
        found = silence.reasons(seen, late, self._regimes.looping(seen, end))
        stepped = (found == 0) & self._regimes.silent(seen, end, self._active[seen.rows])
        found = np.where(stepped, np.int8(silence.REGIME), found)
        for i in np.flatnonzero((found == 0) & self._evictions.undecided(seen.rows, scores, threshold)).tolist():
            if not self._episodes.get(self.windows.series[int(seen.rows[i])], Episode()).open:
                found[i] = silence.EVICTION
        return found

    def _abstained(self, series: Series, number: int, end: int) -> Abstained:
        reason, shift = silence.REASONS[number], self._regimes.newest(series)
        note = narrative.stepped(series, shift, self.step_seconds) if shift else ""
        sentence = reason.sentence.format(enough=silence.ENOUGH_STEPS, step=self.step_seconds, note=note)
        return Abstained(series.entity, series.name, sentence, self._time(end), reason.code)

    def _failures(self, seen: Snapshot, end: int) -> list[Observation]:
        """Signals that reached their limit, or came back below it, since the last assessment."""
        cells = self.windows.history(seen.rows, end, int(np.clip(end - self._watched_cell, 1, 300)))
        with np.errstate(invalid="ignore"):
            at_limit = (cells >= seen.limits[:, None].astype(np.float32)) & (seen.limits[:, None] > 0)  # 0: unlimited
        at_limit[self._evictions.evicting(seen.rows, end)] = False
        found: list[Observation] = []
        for i in np.flatnonzero(at_limit.any(1)):
            series = self.windows.series[int(seen.rows[i])]
            column = int(at_limit[i].argmax())
            last = end - cells.shape[1] + int(np.flatnonzero(at_limit[i])[-1])
            if series not in self._failing:
                self._take_up(series)
            if series not in self._failing:
                found.append(
                    FailureObserved(
                        series.entity, series.name, failure_mode(series.signal).mode,
                        self._time(end - cells.shape[1] + column),
                        *np.nan_to_num([float(cells[i, column]), float(seen.limits[i])]).tolist(),  # JSON: no infinity
                    )
                )  # fmt: skip
                self._episodes[series] = Episode()
            self._failing[series] = last
            self._active[seen.rows[i]] = True
        for series, last in list(self._failing.items()):
            if end - last > RECOVERY_STEPS:
                del self._failing[series]
                if self._recovered_cell.pop((series.entity, series.name), -1) > last:
                    continue
                mode = failure_mode(series.signal).mode
                found.append(Recovered(series.entity, series.name, mode, self._time(last + 1)))
        return found

    def _take_up(self, series: Series) -> None:
        """Continue with what was restored for this series, once."""
        known = self._known.pop((series.entity, series.name), None)
        if known is not None:
            self._episodes[series] = known[0]
            if known[1] >= 0:
                self._failing[series] = known[1]

    def _tell(self, series: Series, scores: Scores, i: int, end: int, scorer: Scorer) -> Telling | None:
        self._take_up(series)
        probability, left = 1.0 - float(scores.survival[i, PAGING_HORIZON]), float(scores.quantiles[i, 1])
        before = self._episodes.get(series, Episode())
        if self._told_cell and end <= self._told_cell.get((series.entity, series.name), -1):
            self._episodes[series] = counted(before, probability, scorer.threshold)
            return None  # told before the restart
        after, state = step(before, end, probability, left, scorer.threshold)
        self._episodes[series] = after
        if not state:
            return None
        key = (series.entity, series.name)
        if state == "open":
            mode = failure_mode(series.signal).mode
            self._identity[key] = episode_of(series.entity, series.name, mode, self._time(end))
        return Telling(series, i, state, self._identity[key], before.revision + 1)

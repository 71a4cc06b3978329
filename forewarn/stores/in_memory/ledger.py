"""The ledger in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from forewarn.evaluation.ledger import EpisodeResult, Outcome, Prediction, TrackRecord, track_record
from forewarn.incidents.episodes import Episode
from forewarn.risk.records import Abstained, AnomalyObserved, FailureObserved, Risk
from forewarn.stores.ledger import episode_of_parts
from forewarn.telemetry.samples import namespace_of


@dataclass(frozen=True, slots=True)
class _Failure:
    entity: str
    signal: str
    mode: str
    failed_at: datetime
    value: float
    limit_value: float
    predicted: bool
    episode: str
    recovered_at: datetime | None = None


class InMemoryLedger:
    """LedgerStore in dictionaries."""

    def __init__(self) -> None:
        self._risks: dict[str, Risk] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._failures: dict[tuple[str, str, datetime], _Failure] = {}
        self._watermarks: dict[str, datetime] = {}
        self.abstentions: dict[tuple[str, str], Abstained] = {}
        self.anomalies: dict[tuple[str, datetime], AnomalyObserved] = {}  # by entity and opening: what was told last

    def add_risk(self, risk: Risk) -> bool:
        """See LedgerStore."""
        new = risk.risk_id not in self._risks
        self._risks.setdefault(risk.risk_id, risk)
        return new

    def resolve(self, outcomes: Sequence[Outcome]) -> int:
        """See LedgerStore."""
        before = len(self._outcomes)
        for outcome in outcomes:
            self._outcomes.setdefault(outcome.prediction.risk_id, outcome)
        return len(self._outcomes) - before

    def predictions_about(self, entity: str, signal: str, at: datetime) -> list[Prediction]:
        """See LedgerStore."""
        all_of = [p for p in self._predictions() if (p.entity, p.signal) == (entity, signal)]
        episodes = {p.episode for p in all_of if p.covers(at)}
        return sorted((p for p in all_of if p.episode in episodes), key=lambda p: (p.predicted_at, p.revision))

    def unresolved(self, episodes: Sequence[str]) -> list[Prediction]:
        """See LedgerStore."""
        return [p for p in self._predictions() if p.episode in episodes and p.risk_id not in self._outcomes]

    def overdue(self, namespace: str, since: datetime | None, until: datetime) -> list[Prediction]:
        """See LedgerStore."""
        found = [
            p
            for p in self._predictions()
            if p.expires_at < until
            and (since is None or p.expires_at >= since)
            and namespace_of(p.entity) == namespace
            and p.risk_id not in self._outcomes
        ]
        return sorted(found, key=lambda p: (p.expires_at, p.risk_id))

    def add_failure(self, failure: FailureObserved, episode: str, predicted: bool) -> bool:
        """See LedgerStore."""
        f = failure
        row = _Failure(f.entity, f.signal, f.mode, f.at, f.value, f.limit, predicted, episode)
        return self._failures.setdefault((f.entity, f.signal, f.at), row) is row

    def claim_failure(self, entity: str, signal: str, failed_at: datetime, episode: str) -> str | None:
        """See LedgerStore."""
        held = self._failures.get((entity, signal, failed_at))
        if held is None or held.predicted:
            return None
        for key, failure in list(self._failures.items()):
            if failure.episode == held.episode:
                self._failures[key] = replace(failure, predicted=True, episode=episode)
        return held.episode

    def failure_times(self, entity: str, signal: str, since: datetime, until: datetime) -> list[datetime]:
        """See LedgerStore."""
        return sorted(f.failed_at for f in self._of(entity, signal) if since <= f.failed_at <= until)

    def relapse_of(self, entity: str, signal: str, since: datetime, at: datetime) -> tuple[str, bool] | None:
        """See LedgerStore."""
        found = [
            f
            for f in self._of(entity, signal)
            if f.failed_at <= at and (f.recovered_at is None or f.recovered_at >= since)
        ]
        last = max(found, key=lambda f: f.failed_at, default=None)
        return None if last is None else (last.episode, last.predicted)

    def recover(self, entity: str, signal: str, at: datetime) -> list[str]:
        """See LedgerStore."""
        ended = [f for f in self._of(entity, signal) if f.recovered_at is None and f.failed_at <= at]
        found = {f.episode for f in ended}
        for f in ended:
            self._failures[f.entity, f.signal, f.failed_at] = replace(f, recovered_at=at)
            found |= {
                o.prediction.episode
                for o in self._outcomes.values()
                if (o.prediction.entity, o.prediction.signal, o.failed_at) == (entity, signal, f.failed_at)
            }
        return sorted(found)

    def set_watermark(self, namespace: str, at: datetime) -> None:
        """See LedgerStore."""
        self._watermarks[namespace] = max(at, self._watermarks.get(namespace, at))

    def watermarks(self) -> dict[str, datetime]:
        """See LedgerStore."""
        return dict(self._watermarks)

    def abstain(self, abstained: Abstained) -> None:
        """See LedgerStore."""
        key = (abstained.entity, abstained.signal)
        if key not in self.abstentions or self.abstentions[key].at <= abstained.at:
            self.abstentions[key] = abstained

    def note_anomaly(self, anomaly: AnomalyObserved) -> None:
        """See LedgerStore."""
        key = anomaly.entity, anomaly.since
        if anomaly.state == "ended" and key in self.anomalies:
            self.anomalies[key] = anomaly
        elif anomaly.state == "open":
            self.anomalies.setdefault(key, anomaly)

    def episodes(self, ids: Sequence[str]) -> list[Episode]:
        """See LedgerStore."""
        return [episode for e in ids if (episode := self._episode(e)) is not None]

    def outcomes_since(self, at: datetime, namespace: str | None = None) -> list[Outcome]:
        """See LedgerStore."""
        firsts = (o for o in self._outcomes.values() if o.prediction.state == "open" and o.resolved_at >= at)
        found = [o for o in firsts if namespace in (None, namespace_of(o.prediction.entity))]
        return sorted(found, key=lambda o: (o.resolved_at, o.prediction.predicted_at))

    def misses_since(self, at: datetime, namespace: str | None = None) -> list[FailureObserved]:
        """See LedgerStore."""
        missed = [f for f in self._failures.values() if not f.predicted and f.failed_at >= at]
        return [
            FailureObserved(f.entity, f.signal, f.mode, f.failed_at, f.value, f.limit_value)
            for f in sorted(missed, key=lambda f: f.failed_at)
            if namespace in (None, namespace_of(f.entity))
        ]

    def track_record(self, mode: str | None = None, namespace: str | None = None) -> TrackRecord:
        """See LedgerStore."""

        def counts(entity: str, its_mode: str) -> bool:
            return mode in (None, its_mode) and namespace in (None, namespace_of(entity))

        firsts = [o for o in self._outcomes.values() if o.prediction.state == "open"]
        results = [
            EpisodeResult(o.prediction.episode, o.outcome, self._withdrawn_before(o))
            for o in firsts
            if counts(o.prediction.entity, o.prediction.mode)
        ]
        missed = {f.episode for f in self._failures.values() if not f.predicted and counts(f.entity, f.mode)}
        return track_record(results, len(missed), mode)

    def _withdrawn_before(self, outcome: Outcome) -> bool:
        failed_at = outcome.failed_at
        return failed_at is not None and any(
            r.state == "withdrawn" and r.predicted_at <= failed_at for r in self._of_episode(outcome.prediction.episode)
        )

    def _predictions(self) -> Iterator[Prediction]:
        return (Prediction.of(risk) for risk in self._risks.values())

    def _of(self, entity: str, signal: str) -> list[_Failure]:
        return [f for f in self._failures.values() if (f.entity, f.signal) == (entity, signal)]

    def _of_episode(self, episode: str) -> list[Risk]:
        return sorted((r for r in self._risks.values() if r.episode == episode), key=lambda r: r.revision)

    def _episode(self, episode: str) -> Episode | None:
        risks = self._of_episode(episode)
        outcomes = [o for o in self._outcomes.values() if o.prediction.episode == episode]
        hits = {(o.prediction.entity, o.prediction.signal, o.failed_at) for o in outcomes if o.failed_at}
        failures = [
            f
            for f in self._failures.values()
            if f.episode == episode or (risks and (f.entity, f.signal, f.failed_at) in hits)
        ]
        if not risks and not failures:
            return None
        said = sorted((o for o in outcomes if o.outcome in ("averted", "dismissed")), key=lambda o: o.resolved_at)
        latest = self._outcomes.get(risks[-1].risk_id) if risks else None
        return episode_of_parts(
            episode,
            risks[0] if risks else None,
            risks[-1] if risks else None,
            failed=_failed(failures) if failures else None,
            feedback=said[0].outcome if said else None,
            expired=latest is not None and latest.outcome == "expired",
        )


def _failed(failures: Iterable[_Failure]) -> dict[str, Any]:
    """The first of an episode's failures, and whether one is still going on."""
    ordered = sorted(failures, key=lambda f: f.failed_at)
    firing = any(f.recovered_at is None for f in ordered)
    recovered = max((f.recovered_at for f in ordered if f.recovered_at is not None), default=None)
    return {**asdict(ordered[0]), "firing": firing, "recovered_at": recovered}

"""What the alerter does with each record: enter it in the ledger, keep its incident, decide who is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.alerting.defaults import policy_of
from forewarn.evaluation.ledger import (
    Prediction,
    episode_of_failure,
    outcome_of_failure,
    outcome_of_feedback,
    outcome_of_watermark,
    outcome_on_arrival,
)
from forewarn.incidents.assembly import assemble, incident_id_of, is_news
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import Group, assign
from forewarn.incidents.records import Incident
from forewarn.risk.records import (
    Abstained,
    AnyObservation,
    FailureObserved,
    Recovered,
    Risk,
    Watermark,
    episode_of,
)
from forewarn.services.alerter.dispatcher import Dispatcher
from forewarn.stores.audit import AuditStore
from forewarn.stores.feedback import Feedback, FeedbackStore
from forewarn.stores.incidents import IncidentStore
from forewarn.stores.ledger import LedgerStore
from forewarn.stores.outbox import OutboxStore
from forewarn.telemetry.samples import namespace_of

ACTOR = "alerter"


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one transaction."""

    ledger: LedgerStore
    incidents: IncidentStore
    outbox: OutboxStore
    feedback: FeedbackStore
    audit: AuditStore


@dataclass(frozen=True, slots=True)
class Rules:
    """What is decided by configuration. channels: where incidents are told."""

    channels: tuple[str, ...] = ("console",)
    min_lead_seconds: float = 60.0
    window: timedelta = timedelta(minutes=30)


class Desk:
    """Takes records in the order of their event times, each in its caller's transaction; a record twice is one."""

    def __init__(self, stores: Stores, rules: Rules, dispatcher: Dispatcher | None = None) -> None:
        """dispatcher: decides who is told, when its owner sweeps; without one, each change is told at once."""
        self._stores = stores
        self._rules = rules
        self._sweeps = dispatcher is None
        self._dispatcher = dispatcher or _telling_at_once(stores, rules.channels)
        self._expired_until: dict[str, datetime] = {}
        self._graph = ServiceGraph(stores.incidents.edges())
        self._dispatcher.use_graph(self._graph)
        self._track: dict[tuple[str, str], str] = {}

    def refresh_graph(self) -> None:
        """Read the service graph again; forget the track records that were read."""
        self._graph = ServiceGraph(self._stores.incidents.edges())
        self._dispatcher.use_graph(self._graph)
        self._track.clear()

    def take_risk(self, risk: Risk) -> bool:
        """Enter a prediction; False where it is known already."""
        stores = self._stores
        if not stores.ledger.add_risk(risk):
            return False
        (episode,) = stores.ledger.episodes([risk.episode])
        missed = self._resolve_on_arrival(risk, episode.feedback) or risk.episode
        linked = stores.incidents.incidents_of([risk.episode, missed])
        if risk.episode in linked:
            self._refresh(linked[risk.episode], risk.predicted_at)
        elif missed in linked:
            self._join(risk.episode, linked[missed], risk.predicted_at, "it predicted the failure, but was read later")
        elif risk.state == "withdrawn":
            stores.audit.write(ACTOR, "ignored", risk.episode, "withdrawn before it belonged to an incident")
        else:
            self._open_or_join(risk.episode, risk.predicted_at)
        return True

    def take_observation(self, observation: AnyObservation) -> bool:
        """Enter what was seen in the telemetry; False where it is known already."""
        if isinstance(observation, FailureObserved):
            return self._take_failure(observation)
        if isinstance(observation, Recovered):
            ended = self._stores.ledger.recover(observation.entity, observation.signal, observation.at)
            self._refresh_all(ended, observation.at)
        elif isinstance(observation, Watermark):
            self._stores.ledger.set_watermark(observation.namespace, observation.at)
        elif isinstance(observation, Abstained):
            self._stores.ledger.abstain(observation)
        else:
            self._stores.ledger.note_anomaly(observation)  # for the dashboard: nobody is told
        return True

    def expire(self, namespace: str, until: datetime) -> int:
        """Everything of the namespace up to `until` was read: predictions that had to fail before, did not."""
        since = self._expired_until.get(namespace)
        overdue = self._stores.ledger.overdue(namespace, since, until)
        outcomes = [o for p in overdue if (o := outcome_of_watermark(p, until)) is not None]
        self._stores.ledger.resolve(outcomes)
        self._track.clear()
        self._refresh_all([o.prediction.episode for o in outcomes], until)
        self._expired_until[namespace] = max(until, since or until)
        return len(outcomes)

    def take_feedback(self) -> int:
        """Act on the verdicts that engineers gave meanwhile: 'averted' and 'dismissed' resolve what is still open."""
        waiting = self._stores.feedback.unhandled()
        for feedback in waiting:
            self._act_on(feedback)
            self._stores.feedback.mark_handled(feedback.feedback_id)
        return len(waiting)

    def _act_on(self, feedback: Feedback) -> None:
        stores = self._stores
        incident = self._incident_of(feedback)
        reason = f"{feedback.verdict} by {feedback.author}" + (f": {feedback.note}" if feedback.note else "")
        subject = incident.incident_id if incident else feedback.incident_id or feedback.episode or ""
        stores.audit.write(feedback.author, feedback.verdict, subject, reason)
        episodes = incident.episodes if incident else [feedback.episode] if feedback.episode else []
        pending = stores.ledger.unresolved(episodes)
        if not pending or feedback.verdict in ("confirmed", "acknowledged"):
            return
        newest = max(p.predicted_at for p in pending)
        clock = stores.ledger.watermarks().get(namespace_of(pending[0].entity), newest)
        at = max(clock, newest)
        outcomes = [o for p in pending if (o := outcome_of_feedback(p, feedback.verdict, at)) is not None]
        stores.ledger.resolve(outcomes)
        self._track.clear()
        if incident is not None:
            self._refresh(incident.incident_id, at)

    def _incident_of(self, feedback: Feedback) -> Incident | None:
        incidents = self._stores.incidents
        episode = feedback.episode
        incident_id = feedback.incident_id or (incidents.incidents_of([episode]).get(episode) if episode else None)
        return incidents.get(incident_id) if incident_id else None

    def _resolve_on_arrival(self, risk: Risk, feedback: str | None) -> str | None:
        """The failure or the end of the horizon may have been read before the prediction.

        Returns the episode of a failure that had been taken for a miss.
        """
        ledger, p = self._stores.ledger, Prediction.of(risk)
        failures = ledger.failure_times(p.entity, p.signal, p.predicted_at, p.expires_at)
        clock = self._expired_until.get(namespace_of(p.entity))
        outcome = outcome_on_arrival(p, failures, clock, feedback, self._rules.min_lead_seconds)
        if outcome is None:
            return None
        ledger.resolve([outcome])
        self._track.clear()
        if outcome.failed_at is None or p.state == "withdrawn":
            return None
        return ledger.claim_failure(p.entity, p.signal, outcome.failed_at, p.episode)

    def _take_failure(self, failure: FailureObserved) -> bool:
        ledger = self._stores.ledger
        predictions = ledger.predictions_about(failure.entity, failure.signal, failure.at)
        episode, predicted = episode_of_failure(failure, predictions)
        if episode is None:
            episode, predicted = self._unpredicted(failure)
        if not ledger.add_failure(failure, episode, predicted):
            return False
        found = (outcome_of_failure(p, failure.at, self._rules.min_lead_seconds) for p in predictions)
        outcomes = [o for o in found if o is not None]
        ledger.resolve(outcomes)
        self._track.clear()
        self._refresh_all([episode, *(o.prediction.episode for o in outcomes)], failure.at)
        return True

    def _unpredicted(self, failure: FailureObserved) -> tuple[str, bool]:
        """What fails again within the window is the failure before; else it is a miss with an episode of its own."""
        f = failure
        relapse = self._stores.ledger.relapse_of(f.entity, f.signal, f.at - self._rules.window, f.at)
        return relapse or (episode_of(f.entity, f.signal, f.mode, f.at), False)

    def _refresh_all(self, episodes: Sequence[str], at: datetime) -> None:
        """Bring the incidents of these episodes up to date; an episode without one gets one."""
        distinct = list(dict.fromkeys(episodes))
        linked = self._stores.incidents.incidents_of(distinct)
        for incident_id in dict.fromkeys(linked.values()):
            self._refresh(incident_id, at)
        for episode in distinct:
            if episode not in linked:
                self._open_or_join(episode, at)

    def _open_or_join(self, episode_id: str, at: datetime) -> None:
        stores = self._stores
        (episode,) = stores.ledger.episodes([episode_id])
        if not episode.is_open and episode.failed_at is None:
            stores.audit.write(ACTOR, "ignored", episode_id, f"{episode.state} before it belonged to an incident")
            return
        namespace = namespace_of(episode.entity)
        near = stores.incidents.open_incidents(namespace, closed_since=at - self._rules.window)
        groups = [Group(i, tuple(stores.ledger.episodes(i.episodes))) for i in near]
        decision = assign(episode, groups, self._graph, self._rules.window)
        incident_id = decision.incident_id or incident_id_of(episode)
        action = "grouped" if decision.incident_id else "opened"
        self._join(episode_id, incident_id, at, f"{episode.entity} {episode.signal}: {decision.reason}", action)

    def _join(self, episode: str, incident_id: str, at: datetime, reason: str, action: str = "grouped") -> None:
        self._stores.incidents.link(episode, incident_id)
        self._stores.audit.write(ACTOR, action, incident_id, reason)
        self._refresh(incident_id, at, joined=episode)

    def _refresh(self, incident_id: str, at: datetime, joined: str | None = None) -> None:
        """Make the next version of an incident, if there is news, and decide whether to tell it."""
        stores, rules = self._stores, self._rules
        previous = stores.incidents.get(incident_id)
        ids = [*(previous.episodes if previous else ()), *([joined] if joined else ())]
        episodes = stores.ledger.episodes(list(dict.fromkeys(ids)))
        if not episodes:
            return
        incident, why = assemble(incident_id, previous, episodes, self._graph, at, rules.window, self._track_record)
        if not is_news(previous, incident):
            return
        stores.incidents.put(incident)
        changed = previous is None or (previous.state, previous.severity) != (incident.state, incident.severity)
        if changed:
            stores.audit.write(ACTOR, incident.state, incident_id, f"severity {incident.severity}: {why}")
        self._dispatcher.note(incident, changed)
        if self._sweeps:
            self._dispatcher.sweep()

    def _track_record(self, cause: Episode) -> str:
        key = (cause.mode, namespace_of(cause.entity))
        if key not in self._track:
            self._track[key] = self._stores.ledger.track_record(*key).sentence
        return self._track[key]


def _telling_at_once(stores: Stores, channels: Sequence[str]) -> Dispatcher:
    everything = policy_of(channels, group_wait=0)
    return Dispatcher(stores, lambda: everything)

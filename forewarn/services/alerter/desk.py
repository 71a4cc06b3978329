"""What the alerter does with each record: enter it in the ledger, keep its incident, decide who is told."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.alerting.defaults import policy_of
from forewarn.evaluation.ledger import (
    Outcome,
    Prediction,
    episode_of_failure,
    outcome_of_failure,
    outcome_of_feedback,
    outcome_of_watermark,
    outcome_on_arrival,
)
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
from forewarn.services.alerter.casebook import Casebook, Past
from forewarn.services.alerter.dispatcher import Dispatcher
from forewarn.services.alerter.episode_cache import EpisodeCache
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

    def __init__(
        self, stores: Stores, rules: Rules, dispatcher: Dispatcher | None = None, past: Past | None = None
    ) -> None:
        """dispatcher: decides who is told, when its owner sweeps; without one, each record is told at once.

        past: what was before, to learn from and to tell.
        """
        self._stores = stores
        self._rules = rules
        self._sweeps = dispatcher is None
        self._dispatcher = dispatcher or _telling_at_once(stores, rules.channels)
        self._expired_until: dict[str, datetime] = {}
        self._episodes = EpisodeCache(stores.ledger)
        self._past = past or Past()
        self._cases = Casebook(stores, self._episodes, rules.window, self._dispatcher, self._past)

    def refresh_graph(self) -> None:
        """Read the service graph again and merge what it shows to be one; forget the track records that were read."""
        with self._deciding():
            self._cases.refresh_graph()

    def take_risk(self, risk: Risk) -> bool:
        """Enter a prediction; False where it is known already."""
        with self._deciding():
            return self._take_risk(risk)

    def _take_risk(self, risk: Risk) -> bool:
        stores, cases = self._stores, self._cases
        if not stores.ledger.add_risk(risk):
            return False
        self._episodes.forget([risk.episode])
        (episode,) = self._episodes.get([risk.episode])
        missed = self._resolve_on_arrival(risk, episode.feedback) or risk.episode
        linked = stores.incidents.incidents_of([risk.episode, missed])
        if risk.episode in linked:
            cases.refresh(linked[risk.episode], risk.predicted_at)
        elif missed in linked:
            reason = "it predicted the failure, but was read later"
            cases.join(risk.episode, linked[missed], risk.predicted_at, reason)
        elif risk.state == "withdrawn":
            stores.audit.write(ACTOR, "ignored", risk.episode, "withdrawn before it belonged to an incident")
        else:
            cases.open_or_join(risk.episode, risk.predicted_at)
        return True

    def take_observation(self, observation: AnyObservation) -> bool:
        """Enter what was seen in the telemetry; False where it is known already."""
        with self._deciding():
            return self._take_observation(observation)

    def _take_observation(self, observation: AnyObservation) -> bool:
        if isinstance(observation, FailureObserved):
            return self._take_failure(observation)
        if isinstance(observation, Recovered):
            ended = self._stores.ledger.recover(observation.entity, observation.signal, observation.at)
            self._episodes.forget(ended)
            self._cases.refresh_all(ended, observation.at)
        elif isinstance(observation, Watermark):
            self._stores.ledger.set_watermark(observation.namespace, observation.at)
        elif isinstance(observation, Abstained):
            self._stores.ledger.abstain(observation)
        else:
            self._stores.ledger.note_anomaly(observation)  # for the dashboard: nobody is told
        return True

    def expire(self, namespace: str, until: datetime) -> int:
        """Everything of the namespace up to `until` was read: predictions that had to fail before, did not."""
        with self._deciding():
            return self._expire(namespace, until)

    def _expire(self, namespace: str, until: datetime) -> int:
        since = self._expired_until.get(namespace)
        overdue = self._stores.ledger.overdue(namespace, since, until)
        acted = self._past.acted(list({p.episode for p in overdue}))
        outcomes = [o for p in overdue if (o := outcome_of_watermark(p, until, acted.get(p.episode))) is not None]
        self._resolve(outcomes)
        self._cases.refresh_all([o.prediction.episode for o in outcomes], until)
        self._cases.look_again(namespace, until)
        self._expired_until[namespace] = max(until, since or until)
        return len(outcomes)

    def take_feedback(self) -> int:
        """Act on the verdicts that engineers gave meanwhile: 'averted' and 'dismissed' resolve what is still open."""
        waiting = self._stores.feedback.unhandled()
        for feedback in waiting:
            with self._deciding():
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
        self._resolve(outcomes)
        if incident is not None:
            self._cases.refresh_all(incident.episodes, at)  # of one that was merged: the incident that goes on

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
        self._resolve([outcome])
        if outcome.failed_at is None or p.state == "withdrawn":
            return None
        missed = ledger.claim_failure(p.entity, p.signal, outcome.failed_at, p.episode)
        self._episodes.forget([missed] if missed is not None else [])
        return missed

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
        self._episodes.forget([episode])
        self._resolve(outcomes)
        self._cases.refresh_all([episode, *(o.prediction.episode for o in outcomes)], failure.at)
        return True

    def _unpredicted(self, failure: FailureObserved) -> tuple[str, bool]:
        """What fails again within the window is the failure before; else it is a miss with an episode of its own."""
        f = failure
        relapse = self._stores.ledger.relapse_of(f.entity, f.signal, f.at - self._rules.window, f.at)
        return relapse or (episode_of(f.entity, f.signal, f.mode, f.at), False)

    def _resolve(self, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            self._stores.ledger.resolve(outcomes)
            self._episodes.resolved(outcomes)
            self._cases.forget_track_records()

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """What happens inside is entered and decided as a whole."""
        with self._episodes.unless_undone():
            yield
        if self._sweeps:
            self._dispatcher.sweep()


def _telling_at_once(stores: Stores, channels: Sequence[str]) -> Dispatcher:
    everything = policy_of(channels, group_wait=0)
    return Dispatcher(stores, lambda: everything)

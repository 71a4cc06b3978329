"""Drives the decision who is told: reads what is known, decides, and enters every decision in outbox and audit."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from forewarn.alerting.calendars import Maintenance
from forewarn.alerting.dispatch import decide
from forewarn.alerting.fix_times import FixTimes
from forewarn.alerting.messages import Message, message_id_of
from forewarn.alerting.policy import Policy, RouteSpec
from forewarn.alerting.situation import Answer, Case, Decision, Situation, earliest
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.records import Incident
from forewarn.stores.audit import AuditStore
from forewarn.stores.feedback import FeedbackStore
from forewarn.stores.incidents import IncidentStore
from forewarn.stores.ledger import LedgerStore
from forewarn.stores.outbox import OutboxStore

ACTOR = "alerter"
FULL_SECONDS = 2.0  # how soon a silence, an answer or a new alerting file is noticed
_SETTING_SECONDS = 300.0  # how long fix times that were read hold
_WAITS = ("group_wait", "group_interval")  # not worth a line each in the audit


class AlertStores(Protocol):
    """The stores that a decision reads and writes, of one transaction."""

    @property
    def ledger(self) -> LedgerStore: ...
    @property
    def incidents(self) -> IncidentStore: ...
    @property
    def outbox(self) -> OutboxStore: ...
    @property
    def feedback(self) -> FeedbackStore: ...
    @property
    def audit(self) -> AuditStore: ...


def _no_windows() -> Sequence[Maintenance]:
    return ()


def _nothing_learned(policy: Policy) -> FixTimes:
    return FixTimes({}, policy.fix_times)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the dispatcher gets what is not in the stores of every test: windows set by people, learned fix times."""

    windows: Callable[[], Sequence[Maintenance]] = _no_windows
    fix_times: Callable[[Policy], FixTimes] = _nothing_learned
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


class Dispatcher:
    """Decides for incidents that changed, for those of which something waits, and every few seconds for all.

    All that it knows is in the tables: after a kill its successor comes to the same decisions.
    """

    def __init__(self, stores: AlertStores, policy: Callable[[], Policy], sources: Sources | None = None) -> None:
        self._stores = stores
        self._policy = policy
        self._sources = sources or Sources()
        self._graph = ServiceGraph(())
        self._hops: dict[tuple[str, str], bool] = {}
        self._changed: dict[str, bool] = {}
        self._open: dict[str, Incident] = {}
        self._wake_at: datetime | None = None
        self._full_at = float("-inf")
        self._fix_times: FixTimes | None = None
        self._fix_times_at = float("-inf")

    def note(self, incident: Incident, news: bool) -> None:
        """The incident has a new version; `news`: its state or severity changed, so silence about it needs a reason."""
        self._changed[incident.incident_id] = news or self._changed.get(incident.incident_id, False)

    def use_graph(self, graph: ServiceGraph) -> None:
        """The service graph, for inhibition."""
        self._graph = graph
        self._hops.clear()

    def sweep(self) -> int:
        """Decide what is due; how many messages were released, held or dropped. Runs in its caller's transaction."""
        now = self._sources.now()
        full = time.monotonic() - self._full_at >= FULL_SECONDS
        due = self._wake_at is not None and now >= self._wake_at
        if not (full or due or self._changed):
            return 0
        ids = self._concerned(full)
        outcome = decide([self._open_cases[i] for i in ids if i in self._open_cases], self._situation(now))
        entered = sum(self._enter(d, now) for d in outcome.decisions)
        self._explain(outcome.withheld)
        self._changed.clear()
        partial = None if full else self._wake_at
        self._wake_at = earliest(outcome.wake_at, partial if partial is not None and partial > now else None)
        return entered

    def _concerned(self, full: bool) -> list[str]:
        """Incidents to decide about: those that changed and those of which something waits; of a full turn, all."""
        stores = self._stores
        if full:
            self._full_at = time.monotonic()
            self._open = {i.incident_id: i for i in stores.incidents.open_incidents()}
        waiting = stores.outbox.waiting()
        ids = list(dict.fromkeys([*self._changed, *waiting, *(self._open if full else ())]))
        found = {i: self._open[i] for i in self._open if i not in self._changed}
        for incident_id in ids:
            current = found.get(incident_id) or stores.incidents.get(incident_id)
            if current is not None:
                found[incident_id] = current
        self._open = {i: incident for i, incident in found.items() if incident.state in OPEN_STATES}
        self._open_cases = self._cases(found, ids)
        return ids

    def _cases(self, incidents: dict[str, Incident], ids: Iterable[str]) -> dict[str, Case]:
        """Cases of these incidents; messages and answers only of those that are decided about."""
        wanted = list(ids)
        messages = self._stores.outbox.of(wanted)
        said = self._stores.feedback.latest(wanted)
        answers = {i: Answer(f.verdict, f.author, f.note) for i, f in said.items()}
        policy = self._policy()
        return {i: Case.of(incident, policy, messages.get(i, ()), answers.get(i)) for i, incident in incidents.items()}

    def _situation(self, now: datetime) -> Situation:
        policy, stores, sources = self._policy(), self._stores, self._sources
        limited = {c: spec.rate_limit for c, spec in policy.channels.items() if spec.rate_limit is not None}
        interval, cooldown = _longest(policy.route, "group_interval"), _longest(policy.route, "cooldown")
        return Situation(
            now=now,
            policy=policy,
            silences=stores.feedback.silences(now),
            windows=[*(spec.window() for spec in policy.maintenance), *sources.windows()],
            open_cases=[c for c in self._open_cases.values() if c.is_open],
            depends=self._depends,
            clocks=stores.ledger.watermarks() if policy.working_hours else {},
            fix_times=self._learned(policy) if policy.working_hours else FixTimes(),
            groups=stores.outbox.groups(now - interval),
            channels={c: stores.outbox.channel_state(c, now - limit.per) for c, limit in limited.items()},
            ended=stores.outbox.ended(now - cooldown) if cooldown else {},
        )

    def _depends(self, client: str, server: str) -> bool:
        if (client, server) not in self._hops:
            self._hops[client, server] = client != server and self._graph.hops(client, server) is not None
        return self._hops[client, server]

    def _learned(self, policy: Policy) -> FixTimes:
        if self._fix_times is None or time.monotonic() - self._fix_times_at > _SETTING_SECONDS:
            self._fix_times, self._fix_times_at = self._sources.fix_times(policy), time.monotonic()
        return self._fix_times

    def _enter(self, decision: Decision, now: datetime) -> bool:
        """Write a decision where it changes anything; a decision that stays the same is not written again."""
        case = self._open_cases[decision.incident_id]
        key = message_id_of(decision.incident_id, decision.channel, decision.reason, decision.sequence)
        before = next((m for m in case.messages if m.message_id == key), None)
        message = _message(decision, key, before, now)
        if before is not None and not _differs(before, message):
            return False
        if not self._stores.outbox.put(message):
            return False
        if before is None or (before.status, before.held_for) != (message.status, message.held_for):
            self._audit(decision)
        return True

    def _audit(self, decision: Decision) -> None:
        if decision.verdict == "hold" and decision.code in _WAITS:
            return
        verb = {"send": "tell", "hold": "withhold", "drop": "drop"}[decision.verdict]
        route = f" (route {decision.route})" if decision.route and decision.verdict == "send" else ""
        code = f"{decision.code}: " if decision.code else ""
        action = f"{verb} '{decision.reason}' on {decision.channel}"
        self._stores.audit.write(ACTOR, action, decision.incident_id, f"{code}{decision.why}{route}")

    def _explain(self, withheld: dict[str, str] | object) -> None:
        """Why nothing is told of a change that people would expect to hear of."""
        assert isinstance(withheld, dict)
        for incident_id, why in withheld.items():
            if self._changed.get(incident_id):
                state = self._open_cases[incident_id].incident.state
                message = {"predicted": "opened", "firing": "failed"}.get(state, state)
                self._stores.audit.write(ACTOR, f"withhold '{message}'", incident_id, why)


def _message(decision: Decision, key: str, before: Message | None, now: datetime) -> Message:
    d = decision
    status = {"send": "pending", "hold": "held", "drop": "dropped"}[d.verdict]
    revived = before is None or before.status == "dropped"
    message = Message(
        key, d.incident_id, d.version, d.channel, d.reason, status, sequence=d.sequence, route=d.route,
        group_key=d.group_key, held_for=d.code, why=d.why, batch_id=d.batch_id, told=d.told,
        due=now if d.verdict != "hold" else d.due or now + timedelta(days=365),
        released_at=now if d.verdict == "send" else None, created_at=now,
    )  # fmt: skip
    return message if revived or before is None else replace(message, created_at=before.created_at)


def _differs(before: Message, after: Message) -> bool:
    """Whether the row must be written: also for a new version of what is held, but not for a clock that ticks on."""
    if before.status not in ("held", "dropped"):
        return False
    if before.status == after.status == "dropped":
        return False
    return (before.status, before.held_for, before.version) != (after.status, after.held_for, after.version)


def _longest(route: RouteSpec, name: str) -> timedelta:
    """The longest duration of this name in the tree of routes."""
    own: timedelta | None = getattr(route, name)
    return max([own or timedelta(0), *(_longest(child, name) for child in route.routes)])

"""Drives the decision who is told: reads what is known, decides, and enters every decision in outbox and audit."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from forewarn.alerting.calendars import Maintenance
from forewarn.alerting.dispatch import decide
from forewarn.alerting.fix_times import FixTimes
from forewarn.alerting.messages import Message, message_id_of
from forewarn.alerting.policy import Policy, RouteSpec
from forewarn.alerting.situation import Answer, Case, Decision, Situation, earliest
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
_WHEN_SOMETHING_HAPPENS = datetime(9999, 1, 1, tzinfo=UTC)
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
        self._changed: dict[str, bool] = {}
        self._cases: dict[str, Case] = {}  # open incidents; their messages are read anew before each decision
        self._decided_by: Policy | None = None
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

    def sweep(self) -> int:
        """Decide what is due; how many messages were released, held or dropped. Runs in its caller's transaction."""
        now, started = self._sources.now(), time.monotonic()
        full = started >= self._full_at or self._policy() is not self._decided_by
        due = self._wake_at is not None and now >= self._wake_at
        if not (full or due or self._changed):
            return 0
        cases = self._all_cases() if full else self._due_cases(now)
        outcome = decide(list(cases.values()), self._situation(now))
        entered = sum(self._enter(d, cases[d.incident_id], now) for d in outcome.decisions)
        self._explain(outcome.withheld, cases)
        self._changed.clear()
        later = self._wake_at if not full and self._wake_at is not None and self._wake_at > now else None
        self._wake_at = earliest(outcome.wake_at, later)
        if full:  # with very many open incidents less often, so that it never takes more than a tenth of the time
            self._full_at = started + max(FULL_SECONDS, 10 * (time.monotonic() - started))
        return entered

    def _all_cases(self) -> dict[str, Case]:
        """Every open incident, what changed, and whatever else something is held of."""
        stores, self._decided_by = self._stores, self._policy()
        found = {i.incident_id: i for i in stores.incidents.open_incidents()}
        for incident_id in {*self._changed, *stores.outbox.waiting()} - set(found):
            incident = stores.incidents.get(incident_id)
            if incident is not None:
                found[incident_id] = incident
        cases = self._read_cases(found)
        self._cases = {i: case for i, case in cases.items() if case.is_open}
        return cases

    def _due_cases(self, now: datetime) -> dict[str, Case]:
        """What changed, and what it is time to decide about again."""
        stores, found = self._stores, dict[str, Incident]()
        for incident_id in dict.fromkeys([*self._changed, *stores.outbox.waiting(now)]):
            incident = stores.incidents.get(incident_id)
            if incident is not None:
                found[incident_id] = incident
        cases = self._read_cases(found)
        for incident_id, case in cases.items():
            self._cases.pop(incident_id, None)
            if case.is_open:
                self._cases[incident_id] = case
        return cases

    def _read_cases(self, incidents: dict[str, Incident]) -> dict[str, Case]:
        wanted, policy = list(incidents), self._policy()
        messages = self._stores.outbox.of(wanted)
        said = self._stores.feedback.latest(wanted)
        answers = {i: Answer(f.verdict, f.author, f.given_at) for i, f in said.items()}
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
            open_cases=list(self._cases.values()),
            hops=self._graph.hops,
            clocks=stores.ledger.watermarks() if policy.working_hours else {},
            fix_times=self._learned(policy) if policy.working_hours else FixTimes(),
            groups=stores.outbox.groups(now - interval),
            channels={c: stores.outbox.channel_state(c, now - limit.per) for c, limit in limited.items()},
            ended=stores.outbox.ended(now - cooldown) if cooldown else {},
        )

    def _learned(self, policy: Policy) -> FixTimes:
        if self._fix_times is None or time.monotonic() - self._fix_times_at > _SETTING_SECONDS:
            self._fix_times, self._fix_times_at = self._sources.fix_times(policy), time.monotonic()
        return self._fix_times

    def _enter(self, decision: Decision, case: Case, now: datetime) -> bool:
        """Write a decision where it changes anything; a decision that stays the same is not written again."""
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

    def _explain(self, withheld: Mapping[str, str], cases: Mapping[str, Case]) -> None:
        """Why nothing is told of a change that people would expect to hear of."""
        for incident_id, why in withheld.items():
            if self._changed.get(incident_id):
                state = cases[incident_id].incident.state
                message = {"predicted": "opened", "firing": "failed"}.get(state, state)
                self._stores.audit.write(ACTOR, f"withhold '{message}'", incident_id, why)


def _message(decision: Decision, key: str, before: Message | None, now: datetime) -> Message:
    d = decision
    status = {"send": "pending", "hold": "held", "drop": "dropped"}[d.verdict]
    revived = before is None or before.status == "dropped"
    kept = before if before is not None and d.verdict == "drop" else d  # a decision to drop has no route
    message = Message(
        key, d.incident_id, d.version, d.channel, d.reason, status, sequence=d.sequence, route=kept.route,
        group_key=kept.group_key, held_for=d.code, why=d.why, batch_id=d.batch_id, told=d.told,
        due=now if d.verdict != "hold" else d.due or _WHEN_SOMETHING_HAPPENS,
        released_at=now if d.verdict == "send" else None, created_at=now,
    )  # fmt: skip
    return message if revived or before is None else replace(message, created_at=before.created_at)


def _differs(before: Message, after: Message) -> bool:
    """Whether the row must be written: also for a new version or another end of what is held."""
    if before.status not in ("held", "dropped") or before.status == after.status == "dropped":
        return False
    if (before.status, before.held_for, before.version) != (after.status, after.held_for, after.version):
        return True
    return before.due is not None and after.due is not None and abs(after.due - before.due) > timedelta(seconds=1)


def _longest(route: RouteSpec, name: str) -> timedelta:
    """The longest duration of this name in the tree of routes."""
    own: timedelta | None = getattr(route, name)
    return max([own or timedelta(0), *(_longest(child, name) for child in route.routes)])

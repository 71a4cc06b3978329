"""A dispatcher over simulated time, on in-memory stores and with senders that deliver at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from incident_records import SHOP_EDGES

from forewarn.alerting.policy_file import parse_policy
from forewarn.alerting.silences import Silence
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.records import Incident
from forewarn.risk.records import TimeToFailure
from forewarn.services.alerter import dispatcher as driving
from forewarn.services.alerter.dispatcher import Dispatcher, Sources
from forewarn.stores.feedback import Feedback, new_id
from forewarn.stores.in_memory.audit import InMemoryAudit
from forewarn.stores.in_memory.feedback import InMemoryFeedback
from forewarn.stores.in_memory.incidents import InMemoryIncidents
from forewarn.stores.in_memory.outbox import InMemoryOutbox

TUESDAY = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)
PLAIN = "channels: {chat: {kind: slack}, pager: {kind: pagerduty}}\nroute: {channels: [chat], group_wait: 0s"


def uuid_of(number: int) -> str:
    return f"b2f6d0f8-53f1-4f3b-8f6e-{number:012d}"


class World:
    """A dispatcher on in-memory stores, a clock that the test moves, and senders that deliver at once."""

    def __init__(self, text: str, monkeypatch: pytest.MonkeyPatch, now: datetime = TUESDAY) -> None:
        self.now = now
        monkeypatch.setattr(driving, "time", SimpleNamespace(monotonic=lambda: self.now.timestamp()))
        self.policy = parse_policy(text)
        self.incidents, self.audit = InMemoryIncidents(SHOP_EDGES), InMemoryAudit()
        self.outbox, self.feedback = InMemoryOutbox(lambda: self.now), InMemoryFeedback()
        self.ledger = SimpleNamespace(watermarks=lambda: {})
        self.windows: list[object] = []
        self.messages: list[tuple[str, str, tuple[int, ...]]] = []  # (channel, reason or 'digest', incidents)
        self._dispatcher = self._new()

    def _new(self) -> Dispatcher:
        sources = Sources(windows=lambda: self.windows, now=lambda: self.now)  # type: ignore[arg-type,return-value]
        dispatcher = Dispatcher(self, lambda: self.policy, sources)  # type: ignore[arg-type]
        dispatcher.use_graph(ServiceGraph(SHOP_EDGES))
        return dispatcher

    def incident(self, number: int = 1, entity: str = "shop/db", **changes: object) -> Incident:
        previous = self.incidents.get(uuid_of(number))
        first = Incident(
            uuid_of(number), 0, "predicted", "warning", f"{entity}: trouble", entity, "pool", "disk_full", [],
            self.now, self.now, TimeToFailure(5400.0, 7200.0, 10_800.0, 0.0), None, [], [], "summary",
        )  # fmt: skip
        base = previous or first
        incident = replace(base, version=base.version + 1, updated_at=self.now, **changes)  # type: ignore[arg-type]
        self.incidents.put(incident)
        self._dispatcher.note(incident, True)
        return incident

    def answer(self, verdict: str = "acknowledged", number: int = 1) -> None:
        self.feedback.add(Feedback(new_id(), uuid_of(number), None, verdict, "", "ada", self.now))

    def silence(self, minutes: float, **matcher: str) -> None:
        ends = self.now + timedelta(minutes=minutes)
        self.feedback.add_silence(Silence(new_id(), matcher, self.now, ends, "planned", "ada"))

    def restart(self) -> None:
        """Killed with -9: nothing is left but the tables."""
        self._dispatcher = self._new()

    def run(self, minutes: float = 0.0, step: float = 5.0) -> list[tuple[str, str, tuple[int, ...]]]:
        """Let time pass, sweep and deliver; what was delivered meanwhile."""
        before, end = len(self.messages), self.now + timedelta(minutes=minutes)
        while True:
            self._dispatcher.sweep()
            self._deliver()
            if self.now >= end:
                return self.messages[before:]
            self.now += timedelta(seconds=step)

    def _deliver(self) -> None:
        for channel in self.policy.channels:
            while True:
                with self.outbox.claim(channel) as messages:
                    for m in messages:
                        self.outbox.mark(m.message_id, "sent", receipt={"id": m.batch_id or m.message_id})
                if not messages:
                    break
                reason = messages[0].reason if len(messages) == 1 and messages[0].batch_id is None else "digest"
                self.messages.append((channel, reason, tuple(int(m.incident_id[-3:]) for m in messages)))

    def said(self, number: int = 1) -> list[str]:
        return [f"{action}: {reason}" for _, action, reason in self.audit.about(uuid_of(number))]


Make = Callable[..., World]


def chat(*reasons: str, number: int = 1) -> list[tuple[str, str, tuple[int, ...]]]:
    return [("chat", reason, (number,)) for reason in reasons]

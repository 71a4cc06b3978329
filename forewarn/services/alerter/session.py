"""One term of the active alerter: from taking the lead until the broker or the database is lost or it is stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import structlog
from confluent_kafka import KafkaException, Message, Producer

from forewarn.alerting.fix_times import FixTimes
from forewarn.alerting.policy import Policy
from forewarn.config.settings import Settings
from forewarn.incidents.records import encode_incident
from forewarn.risk.records import FailureObserved, Risk, Watermark
from forewarn.services.alerter.casebook import Past
from forewarn.services.alerter.desk import Desk, Rules, Stores
from forewarn.services.alerter.dispatcher import Dispatcher, Sources
from forewarn.services.alerter.follower import Follower
from forewarn.services.alerter.intake import Record, read_messages
from forewarn.services.alerter.rules import RuleDesk, RuleWatcher
from forewarn.services.tracing import batch_span, trace_headers
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.fix_times import read_fix_times
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.locks import Lock
from forewarn.stores.log import dead_letter, producer
from forewarn.stores.offsets import Place, advance, read_offsets
from forewarn.stores.outbox import PostgresOutbox
from forewarn.stores.past_incidents import last_like, openings
from forewarn.stores.responses import acted_on
from forewarn.stores.rule_states import RuleStates
from forewarn.stores.silences import PostgresMaintenance
from forewarn.telemetry import topics

logger = structlog.get_logger(__name__)

GROUP = "alerter"
POLL_SECONDS = 0.1
_GRAPH_SECONDS = 5.0
_FENCE_SECONDS = 10.0
_FLUSH_SECONDS = 30.0
_DRAINED_STEPS = 5  # without a message after which the log counts as read to its end


class LogUnavailableError(RuntimeError):
    """The broker did not take what had to be written before going on."""


@dataclass(frozen=True, slots=True)
class _Fence:
    """Event clocks, and where the log ended once they had been read: beyond it, all before the clocks is known."""

    ends: dict[Place, int]
    clocks: dict[str, datetime]
    made: float


@contextmanager
def leadership(postgres_url: str, stop: threading.Event) -> Iterator[psycopg.Connection[Any] | None]:
    """A connection that holds the lead; None where it was stopped before. The lead ends with the connection.

    Everything is written over this connection, so that an alerter that has lost the lead cannot write.
    """
    url = psycopg.conninfo.make_conninfo(postgres_url, application_name="alerter", connect_timeout=5)
    with psycopg.connect(url, autocommit=True) as connection:
        told = False
        while not stop.is_set():
            row = connection.execute("select pg_try_advisory_lock(%s)", (Lock.LEAD_ALERTING.value,)).fetchone()
            if row is not None and row[0]:
                yield connection
                return
            if not told:
                logger.info("another alerter is active, this one stands by")
            told = True
            stop.wait(0.5)
        yield None


class Session:
    """Reads, decides, stores; `counters` tell what it did, `wake` that there may be messages to send."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        settings: Settings,
        policy: Callable[[], Policy],
        counters: dict[str, float],
        wake: Callable[[], None],
        rules: RuleWatcher | None = None,
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._wake = wake
        self._stores = Stores(
            PostgresLedger(connection),
            PostgresIncidents(connection),
            PostgresOutbox(connection),
            PostgresFeedback(connection),
            PostgresAudit(connection),
        )
        window = timedelta(seconds=settings.incident_window_seconds)
        sources = Sources(
            lambda: [row.window for row in PostgresMaintenance(connection).windows()],
            lambda policy: FixTimes(read_fix_times(connection), policy.fix_times),
        )
        self._dispatcher = Dispatcher(self._stores, policy, sources)
        past = Past(partial(openings, connection), partial(last_like, connection), partial(acted_on, connection))
        self._desk = Desk(self._stores, Rules((), settings.min_lead_seconds, window), self._dispatcher, past)
        self._rules = rules
        self._rule_desk = RuleDesk(self._stores, RuleStates(connection), self._dispatcher)
        self._stored: dict[Place, int | None] = {**read_offsets(connection, GROUP)}
        self._follower = Follower(settings.kafka_bootstrap, {p: o for p, o in self._stored.items() if o is not None})
        self._producer: Producer = producer(settings.kafka_bootstrap, delivery_seconds=0)  # a term's: see _flush
        self._fence: _Fence | None = None
        self._clocks_moved = True
        self._graph_read = time.monotonic()

    def close(self) -> None:
        """Leave the log."""
        self._follower.close()

    def drain(self, seconds: float) -> None:
        """Read the log to its end, for `seconds` at most: it may be gone with the broker."""
        deadline = time.monotonic() + seconds
        empty = 0
        while time.monotonic() < deadline and empty < _DRAINED_STEPS:
            empty = 0 if self.step() else empty + 1

    def step(self) -> int:
        """Read once and store all that follows from it; how many messages were read."""
        messages = self._follower.read(POLL_SECONDS)
        records, unreadable = read_messages(messages)
        if any(isinstance(r.record, FailureObserved) for r in records):
            more = self._predictions_before()
            messages += more
            records, unreadable = read_messages(messages)
        with batch_span("decide", messages) if messages else nullcontext():
            self._decide(messages, records, unreadable)
        self._mind_clocks(records)
        return len(messages)

    def _decide(self, messages: list[Message], records: list[Record], unreadable: list[tuple[Message, str]]) -> None:
        """Store in one transaction what follows from the records, from time and from answers; then publish it."""
        with self._connection.transaction():
            unreadable += self._take(records)
            acted = self._desk.take_feedback() + self._expire() + self._apply_rules()
            acted += self._dispatcher.sweep()
            for message, reason in unreadable:
                self._reject(message, reason)
            self._store_offsets(messages)
        if messages or acted:
            self._publish()
            self._wake()

    def _predictions_before(self) -> list[Message]:
        """Predictions that are in the log already: they were made before the failure that was read."""
        return self._follower.read_until(self._follower.ends([topics.RISKS]), seconds=5)

    def _take(self, records: list[Record]) -> list[tuple[Message, str]]:
        """Take the records; those that the database refuses, with the reason."""
        refused = []
        if time.monotonic() - self._graph_read > _GRAPH_SECONDS:
            self._desk.refresh_graph()
            self._graph_read = time.monotonic()
        for record in records:
            try:
                with self._connection.transaction():
                    self._take_one(record)
            except (psycopg.DataError, psycopg.IntegrityError, ValueError, OverflowError) as error:
                refused.append((record.message, f"{type(error).__name__}: {error}"))
        return refused

    def _take_one(self, record: Record) -> None:
        if isinstance(record.record, Risk):
            name, new = "risks", self._desk.take_risk(record.record)
        else:
            name, new = "observations", self._desk.take_observation(record.record)
        self._count(f"{name}_total" if new else "duplicates_total")

    def _expire(self) -> int:
        """Expire predictions up to the clocks of the fence, once everything in front of it was read."""
        fence = self._fence
        if fence is None or not self._follower.reached(fence.ends):
            return 0
        self._fence = None
        return sum(self._desk.expire(namespace, at) for namespace, at in fence.clocks.items())

    def _apply_rules(self) -> int:
        """Enter what the rules of a team's own say since the last time."""
        if self._rules is None:
            return 0
        try:
            with self._connection.transaction():
                told = self._rule_desk.apply(self._rules.take(), self._rules.file.notes)
        except (psycopg.DataError, psycopg.IntegrityError, ValueError) as error:
            logger.error("alerter: what rules say cannot be stored", error=str(error))
            self._rule_desk = RuleDesk(self._stores, RuleStates(self._connection), self._dispatcher)
            self._count("rule_errors_total")
            return 0
        self._count("rules_told_total", told)
        return told

    def _mind_clocks(self, records: list[Record]) -> None:
        """Other partitions may still hold failures from before a clock that was read: note where the log ends now."""
        stale = self._fence is not None and time.monotonic() - self._fence.made > _FENCE_SECONDS
        self._clocks_moved |= stale or any(isinstance(r.record, Watermark) for r in records)
        if not self._clocks_moved or (self._fence is not None and not stale):
            return
        try:
            ends = self._follower.ends()
        except KafkaException as error:
            logger.warning("alerter: the broker does not answer", error=str(error))
            return
        self._fence = _Fence(ends, self._stores.ledger.watermarks(), time.monotonic())
        self._clocks_moved = False
        self._counters["lag_messages"] = sum(max(end - self._follower.next[p], 0) for p, end in ends.items())

    def _reject(self, message: Message, reason: str) -> None:
        dead_letter(self._producer, message, reason)
        subject = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        self._stores.audit.write(GROUP, "dead letter", subject, reason[:1000])
        self._count("dead_letters_total")
        logger.warning("alerter: a message cannot be read, see dead_letters", subject=subject, reason=reason[:300])

    def _store_offsets(self, messages: list[Message]) -> None:
        if not messages:
            return
        self._flush()  # dead letters are in the log before their messages count as consumed
        reached = {Place(str(m.topic()), int(m.partition() or 0)): int(m.offset() or 0) + 1 for m in messages}
        advance(self._connection, GROUP, self._stored, reached)
        self._stored.update(reached)

    def _publish(self) -> None:
        """Put new versions of incidents on the topic; what was not marked before a crash is put there again."""
        incidents = self._stores.incidents
        with self._connection.transaction():
            for incident in (waiting := incidents.unpublished()):
                self._producer.produce(
                    topics.INCIDENTS, key=incident.entity, value=encode_incident(incident), headers=trace_headers()
                )
                logger.debug("incident changed", incident=incident.incident_id, state=incident.state)
            self._flush()
            incidents.mark_published(waiting)
        self._count("incident_versions_total", len(waiting))

    def _flush(self) -> None:
        if self._producer.flush(_FLUSH_SECONDS) > 0:
            raise LogUnavailableError(f"the broker took nothing for {_FLUSH_SECONDS:.0f} s")

    def _count(self, name: str, more: int = 1) -> None:
        self._counters[name] = self._counters.get(name, 0) + more

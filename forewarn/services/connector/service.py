"""The connector's loop: consume logs, spans and activity, produce their signals, save state and offsets."""

import contextlib
import threading
import time
from collections import deque
from functools import partial

import numpy as np
import psycopg
import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from forewarn.config.settings import Settings
from forewarn.services.connector.checkpoints import Checkpoints
from forewarn.services.connector.messages import messages
from forewarn.services.tracing import batch_span, trace_headers
from forewarn.stores import log
from forewarn.stores.log_ends import lag_of
from forewarn.stores.offsets import Overtaken, Place
from forewarn.telemetry import topics
from forewarn.telemetry.connectors.kinds import BY_TOPIC
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import EntitySignals, SignalStream
from forewarn.telemetry.errors import TelemetryError

logger = structlog.get_logger("forewarn.services.connector")

GROUP = "connector"
_CONSUME = 200
_UNSENT = 32  # messages that samples are linked to in a trace
_CHECKPOINT_SECONDS = 5.0
_IDLE_SECONDS = 60.0  # wall time without a message after which what is open is closed
_RETRY_SECONDS = 1.0
_SEND_SECONDS = 1.0
_DRAINED_SECONDS = 0.5  # without a message after which the log counts as read to its end
_COUNTED = {topics.LOGS: "logs_total", topics.SPANS: "spans_total", topics.ACTIVITY: "activity_total"}


class Connector:
    """A member of the group `connector` until `stop` is set.

    A checkpoint stores states and offsets together after the broker has every sample that came of them. Killed in
    between, a member repeats what came after the last checkpoint: the same samples, which overwrite themselves.
    """

    def __init__(self, settings: Settings, stop: threading.Event, counters: dict[str, float]) -> None:
        self._settings, self._stop, self._counters = settings, stop, counters
        self._options = Options(
            bucket=settings.connector_bucket_seconds,
            allowance=settings.connector_allowance_seconds,
            learning=settings.connector_learning_seconds,
            conversions=frozenset(settings.conversion_actions),
        )
        self._checkpoints = Checkpoints(settings.postgres_url.get_secret_value(), GROUP)
        self._streams: dict[Place, SignalStream] = {}  # type: ignore[type-arg]
        self._reached: dict[Place, int] = {}
        self._heard: dict[Place, float] = {}  # when a message came last, until what was open is closed
        self._kept: dict[str, bytearray] = {}  # encoded samples, by entity, that the producer does not have yet
        self._unsent: deque[Message] = deque(maxlen=_UNSENT)  # what samples not sent yet come from, the newest
        self._refused = 0  # samples that the broker did not take
        self._producer = log.producer(settings.kafka_bootstrap, delivery_seconds=0)  # never given up: see log.producer
        self._consumer = log.consumer(
            settings.kafka_bootstrap, GROUP, list(BY_TOPIC), self._assigned, self._revoked
        )  # fmt: skip
        names = (*_COUNTED.values(), "samples_total", "late_total", "unreadable_total", "checkpoints_total")
        counters.update(dict.fromkeys((*names, "entities", "lag_messages"), 0))

    def run(self) -> None:
        """Until stopped; what was counted is saved before the return if broker and PostgreSQL are there."""
        due, send_at = time.monotonic() + _CHECKPOINT_SECONDS, 0.0
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(_CONSUME, timeout=0.1):
                    self._take(message)
                self._close_idle()
                self._producer.poll(0)
                if time.monotonic() >= send_at:
                    self._send()
                    send_at = time.monotonic() + _SEND_SECONDS
                if time.monotonic() >= due:
                    self._checkpoint()
                    due = time.monotonic() + _CHECKPOINT_SECONDS
            self._drain()
            self._checkpoint()
        finally:
            self._consumer.close()
            self._checkpoints.disconnect()

    def _drain(self) -> None:
        """Count what the log still holds, where it would be gone with the broker."""
        deadline = time.monotonic() + self._settings.drain_seconds
        while time.monotonic() < deadline and (rest := self._consumer.consume(_CONSUME, timeout=_DRAINED_SECONDS)):
            for message in rest:
                self._take(message)

    def _take(self, message: Message) -> None:
        if message.error() is not None:
            logger.warning("the log has a problem, going on", error=message.error().str())
            return
        place = Place(message.topic(), message.partition())
        stream = self._streams.get(place)
        if stream is None:
            return  # taken away meanwhile
        try:
            records = BY_TOPIC[place.topic].decode(message.value() or b"")
        except TelemetryError:  # the archiver puts it on dead_letters
            self._counters["unreadable_total"] += 1
        else:
            late = stream.counters["late"]
            self._tell(stream.take(records))
            self._counters["late_total"] += stream.counters["late"] - late
            self._counters[_COUNTED[place.topic]] += len(records)
        self._unsent.append(message)
        self._reached[place] = message.offset() + 1
        self._heard[place] = time.monotonic()

    def _close_idle(self) -> None:
        """Close the buckets of partitions that fell silent, and save at once that they are closed."""
        before = time.monotonic() - _IDLE_SECONDS
        silent = [place for place, heard in self._heard.items() if heard < before]
        for place in silent:
            del self._heard[place]
            self._tell(self._streams[place].close_idle())
            at = self._consumer.position([TopicPartition(*place)])[0].offset
            if at >= 0:
                self._reached[place] = at
        if silent:
            self._checkpoint()

    def _tell(self, told: list[EntitySignals]) -> None:
        """Keep samples for up to a second: few messages, not many, reach whoever reads them."""
        for signals in told:
            self._counters["samples_total"] += int(np.count_nonzero(~np.isnan(signals.values)))
            for message in messages(signals):
                kept = self._kept.setdefault(signals.entity, bytearray())
                if len(kept) + len(message) > log.MAX_MESSAGE_BYTES:
                    self._produce(signals.entity.encode(), bytes(kept))
                    kept.clear()
                kept += message  # OTLP requests one after the other are one request

    def _send(self) -> None:
        """Hand what is kept to the producer."""
        if not self._kept:
            return
        with batch_span("connect", list(self._unsent)):
            for entity, kept in self._kept.items():
                if kept:
                    self._produce(entity.encode(), bytes(kept))
        self._kept.clear()
        self._unsent.clear()

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(
                    topics.METRICS, key=key, value=value, on_delivery=self._delivered, headers=trace_headers()
                )
                return
            except BufferError:  # the broker is slower than this, or away
                self._producer.poll(0.5)
            if self._stop.is_set():
                self._refused += 1  # it is made again from the log
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused += 1
            logger.warning("the broker has not taken signals", reason=error.str())

    def _checkpoint(self) -> None:
        """Save; what cannot be saved now is saved later, or made again from the log."""
        self._send()
        if not self._reached or self._producer.flush(10):
            return  # or the broker is slow or away: the next checkpoint will do
        if self._refused:
            self._again("the broker has not taken all signals")
            return
        try:
            self._checkpoints.write(self._streams, self._reached)
        except psycopg.Error as error:
            logger.warning("PostgreSQL does not take the state, trying again later", error=str(error).strip())
        except Overtaken as overtaken:
            self._again(str(overtaken))
        else:
            self._reached = {}
            self._count()

    def _again(self, why: str) -> None:
        logger.warning("going back to the last checkpoint", why=why)
        if self._stop.is_set():
            return
        self._assigned(self._consumer, self._consumer.assignment())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin where PostgreSQL says, with the state that belongs there."""
        made = partial(SignalStream, options=self._options, step_of=self._settings.step_of)
        stored: dict[Place, int] = {}
        self._reached, self._heard, self._kept, self._refused = {}, {}, {}, 0
        while not self._stop.is_set():
            self._streams = {Place(p.topic, p.partition): made(BY_TOPIC[p.topic]) for p in partitions}
            try:
                stored = self._checkpoints.restore(self._streams)
                break
            except psycopg.Error as error:
                logger.warning("waiting for PostgreSQL to tell the state", error=str(error).strip())
                self._stop.wait(_RETRY_SECONDS)
        for partition in partitions:
            place = Place(partition.topic, partition.partition)
            partition.offset = log.start_offset(consumer, partition, stored.get(place))
        consumer.assign(partitions)
        logger.info("partitions assigned", count=len(partitions))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._send()
        if self._reached and not self._producer.flush(5) and not self._refused:
            with contextlib.suppress(psycopg.Error, Overtaken):  # whoever is next counts again from the last checkpoint
                self._checkpoints.write(self._streams, self._reached)
        self._streams, self._reached, self._heard = {}, {}, {}

    def _count(self) -> None:
        self._counters["checkpoints_total"] += 1
        self._counters["entities"] = sum(stream.entity_count for stream in self._streams.values())
        self._counters["lag_messages"] = lag_of(self._consumer)

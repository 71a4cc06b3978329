"""The archiver's loop: consume, decode, store; wait while something is away."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from forewarn.config.settings import Settings
from forewarn.features.series_budget import SeriesBudget
from forewarn.services.archiver.batch import TOPICS, Batch, Reader
from forewarn.services.archiver.storing import REFUSALS, Store, is_poison, loki_of, refuser
from forewarn.services.refusals import Refusals
from forewarn.services.tracing import batch_span
from forewarn.stores import log
from forewarn.stores.log_ends import end_offsets, lag_of
from forewarn.stores.loki import LokiBusyError
from forewarn.stores.offsets import Overtaken, Place
from forewarn.telemetry import topics

logger = structlog.get_logger("forewarn.services.archiver")

GROUP = "archiver"
_BATCH_ROWS = 200_000
_BATCH_MESSAGES = 5_000
_BATCH_SECONDS = 1.0
_CONSUME = 64  # messages in one go: of up to a megabyte each
_LONGEST_WAIT_SECONDS = 5.0
_WARM_UP_MESSAGES = 2_000  # of a partition's stored metrics, read again: a histogram's point needs the one before it


class Archiver:
    """Consumes the telemetry topics as a member of the group `archiver` until `stop` is set."""

    def __init__(self, settings: Settings, stop: threading.Event, counters: dict[str, float]) -> None:
        self._stop = stop
        self._bootstrap, self._drain_seconds = settings.kafka_bootstrap, settings.drain_seconds
        self._counters = counters
        most = settings.max_series_per_entity, settings.max_series
        url = settings.postgres_url.get_secret_value()
        self._store = Store(url, GROUP, loki_of(settings), lambda: SeriesBudget(*most))
        self._refusals = Refusals()
        self._reader = Reader()
        self._batch = Batch()
        self._stored: dict[Place, int] = {}  # where reading began in metrics: what lies before is only for histograms
        self._generation = 0  # changes whenever partitions are taken away: what was read of them is void
        self._dead_letters = log.producer(settings.kafka_bootstrap, delivery_seconds=0)  # never given up
        self._consumer = log.consumer(settings.kafka_bootstrap, GROUP, TOPICS, self._assigned, self._revoked)
        names = ("samples", "logs", "spans", "activity", "messages", "dead_letters", "batches")
        counters.update({f"{name}_total": 0 for name in names} | {"lag_messages": 0})

    def run(self) -> None:
        """Archive until stopped; what was consumed is stored before the return if PostgreSQL is there."""
        try:
            while not self._stop.is_set():
                self._gather()
                self._settle()
            self._drain()
        finally:
            self._consumer.close()
            self._store.disconnect()

    def _drain(self) -> None:
        """Archive what the log holds now, where it would be gone with the broker."""
        deadline = time.monotonic() + self._drain_seconds
        if not self._drain_seconds:
            return
        try:
            ends = end_offsets(self._bootstrap, TOPICS)
        except KafkaException as error:
            logger.warning("the broker does not say where the log ends", error=str(error))
            return
        mine = {Place(p.topic, p.partition) for p in self._consumer.assignment()}
        while missing := sum(max(0, end - self._store.reached(Place(*at))) for at, end in ends.items() if at in mine):
            if time.monotonic() > deadline:
                logger.warning("stopping before the log was read to its end", messages_left=missing)
                return
            for message in self._consumer.consume(_BATCH_MESSAGES, timeout=0.1):
                self._take(message)
            self._settle()

    def _gather(self) -> None:
        """Fill the batch for up to a second, or until it is large."""
        deadline = time.monotonic() + _BATCH_SECONDS
        while time.monotonic() < deadline and not self._stop.is_set():
            for message in self._consumer.consume(_CONSUME, timeout=0.1):
                self._take(message)
            if self._batch.rows > _BATCH_ROWS or len(self._batch.messages) > _BATCH_MESSAGES:
                return

    def _take(self, message: Message) -> None:
        if message.error() is None:
            if message.offset() < self._stored.get(Place(message.topic(), message.partition()), 0):
                self._reader.warm_up(message)
            else:
                self._reader.add(self._batch, message)
        else:
            logger.warning("the log has a problem, going on", error=message.error().str())

    def _settle(self) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch.messages:
            return
        with batch_span("archive", batch.messages):
            if self._persist(batch):
                logger.debug("archived", messages=len(batch.messages), rows=batch.rows)
                self._count_lag()

    def _persist(self, batch: Batch) -> bool:
        """Store a batch; False where it was given up because its partitions were taken away or the service stops."""
        if not self._bury(batch.unreadable):
            return False
        try:
            done = self._until_done(lambda: self._store.write(batch))
        except REFUSALS as error:
            return self._isolate(batch, error)
        except Overtaken as overtaken:
            logger.warning(
                "another archiver has stored this part of the log, reading the offsets again", why=str(overtaken)
            )
            self._assigned(self._consumer, self._consumer.assignment())
            return False
        if done:
            self._count(batch)
        return done

    def _isolate(self, batch: Batch, error: Exception) -> bool:
        """PostgreSQL or Loki refuses something in the batch: store message by message, bury the one that is refused."""
        if len(batch.messages) == 1:
            reason = f"{refuser(error)} refuses it: {str(error).splitlines()[0]}"
            return self._persist(replace(Batch.skipping(batch.messages[0]), unreadable=[(batch.messages[0], reason)]))
        return all(self._persist(replace(part, unreadable=[])) for part in batch.parts)  # the unreadable are buried

    def _bury(self, unreadable: list[tuple[Message, str]]) -> bool:
        """Put messages on dead_letters and wait until they are there."""
        for message, reason in unreadable:
            logger.warning(
                "message cannot be read, it goes to dead_letters", topic=message.topic(),
                partition=message.partition(), offset=message.offset(), reason=reason,
            )  # fmt: skip
            log.dead_letter(self._dead_letters, message, reason)
        while unreadable and self._dead_letters.flush(1.0) and not self._stop.is_set():
            logger.warning("waiting for the broker to take dead letters")
        if unreadable and len(self._dead_letters):
            return False
        self._counters["dead_letters_total"] += len(unreadable)
        return True

    def _until_done(self, attempt: Callable[[], object]) -> bool:
        """Repeat while PostgreSQL or Loki is away, with growing pauses; False if given up. Raises other faults."""
        generation, pause = self._generation, 0.25
        while generation == self._generation:
            try:
                attempt()
                return True
            except (psycopg.Error, LokiBusyError) as error:
                if is_poison(error):
                    raise
                logger.warning(
                    f"{refuser(error)} does not take the data, trying again", seconds=pause, error=str(error).strip()
                )
            self._idle(pause)
            if self._stop.is_set():
                return False
            pause = min(pause * 2, _LONGEST_WAIT_SECONDS)
        return False

    def _idle(self, seconds: float) -> None:
        """Wait, but stay a member of the group."""
        generation = self._generation
        self._consumer.pause(self._consumer.assignment())
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.wait(0.05) and generation == self._generation:
            self._consumer.poll(0)
        if generation == self._generation:
            self._consumer.resume(self._consumer.assignment())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin where PostgreSQL says."""
        self._forget()
        stored: dict[Place, int] = {}

        def read() -> None:
            stored.update(self._store.offsets())

        pause = 0.25
        while not self._stop.is_set():
            try:
                read()
                break
            except psycopg.Error as error:
                logger.warning("waiting for PostgreSQL to tell the offsets", seconds=pause, error=str(error).strip())
                self._stop.wait(pause)
                pause = min(pause * 2, _LONGEST_WAIT_SECONDS)
        for partition in partitions:
            place = Place(partition.topic, partition.partition)
            partition.offset = log.start_offset(consumer, partition, stored.get(place))
            if partition.topic == topics.METRICS and partition.offset > 0:
                self._stored[place] = partition.offset
                partition.offset = max(partition.offset - _WARM_UP_MESSAGES, 0)
        consumer.assign(partitions)
        consumer.resume(partitions)  # a pause outlives the assignment
        logger.info("partitions assigned", count=len(partitions))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget()

    def _forget(self) -> None:
        self._generation += 1
        self._batch = Batch()
        self._stored.clear()
        self._reader.restart()

    def _count(self, batch: Batch) -> None:
        counted = {
            "samples": batch.sample_count,
            "logs": len(batch.logs),
            "spans": len(batch.spans),
            "activity": len(batch.activity),
            "messages": len(batch.messages),
            "batches": 1,
        }
        for name, count in counted.items():
            self._counters[f"{name}_total"] += count
        self._counters["histogram_refused_total"] = self._reader.histograms_refused
        series = self._store.series
        if series.budget is not None:
            self._refusals.tell(series.budget, self._counters, series.refused + self._reader.terms_refused)

    def _count_lag(self) -> None:
        self._counters["lag_messages"] = lag_of(self._consumer)

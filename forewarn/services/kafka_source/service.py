"""The source's loop: consume foreign topics, convert, deliver, and only then commit."""

import threading
from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from forewarn.config.settings import Settings
from forewarn.services.kafka_source.routes import Convert
from forewarn.stores import log
from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry import topics
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_split import Signal, cut
from forewarn.telemetry.scrub import Scrubber
from forewarn.telemetry.scrub_rules import load_rules

logger = structlog.get_logger("forewarn.services.kafka_source")

GROUP = "forewarn-source"
_CONSUME = 500
_PAUSE_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_LARGEST_LETTER = 800_000

_SCRUBBED: dict[str, Signal] = {topics.LOGS: "logs", topics.SPANS: "traces"}

Outgoing = tuple[str, Any, bytes, list[tuple[str, bytes]]]  # topic, key, value, headers


class KafkaSource:
    """Consumes as a member of the group `forewarn-source` until `stop` is set.

    At least once: offsets are committed when the broker has what was made of the messages before them. Killed in
    between, it delivers some messages twice.
    """

    def __init__(
        self, settings: Settings, routes: dict[str, Convert], stop: threading.Event, counters: dict[str, float]
    ) -> None:
        self._settings, self._routes, self._stop, self._counters = settings, routes, stop, counters
        self._producer = self._new_producer()
        brokers = settings.kafka_source_brokers or settings.kafka_bootstrap
        self._consumer = log.consumer(brokers, GROUP, list(routes))
        self._said: set[str] = set()
        self._scrubber = Scrubber(load_rules(settings.scrub))
        names = ("messages_total", "records_total", "rejected_total", "dead_letters_total", "scrubbed_total")
        counters.update(dict.fromkeys(names, 0))

    def run(self) -> None:
        """Until stopped; what is under way then is delivered and committed if the broker is there."""
        try:
            while not self._stop.is_set():
                taken = [m for m in self._consumer.consume(_CONSUME, timeout=0.2) if self._is_good(m)]
                if taken and self._deliver([out for message in taken for out in self._convert(message)]):
                    self._commit(taken)
        finally:
            self._consumer.close()

    def _new_producer(self) -> Producer:
        return log.producer(self._settings.kafka_bootstrap, delivery_seconds=0)  # never given up: see log.producer

    def _is_good(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            self._said.clear()
            return True
        if error.str() not in self._said:
            self._said.add(error.str())
            logger.warning("a topic cannot be read now, going on", topic=message.topic(), error=error.str())
        return False

    def _convert(self, message: Message) -> list[Outgoing]:
        self._counters["messages_total"] += 1
        milliseconds = message.timestamp()[1]
        try:
            converted = self._routes[message.topic()](message.value() or b"", max(milliseconds, 1) * 1_000_000)
        except TelemetryError as error:
            return [self._letter(message, message.value() or b"", str(error))]
        self._counters["records_total"] += converted.records
        self._counters["rejected_total"] += len(converted.rejected)
        found: list[Outgoing] = [
            (topic, key, piece, []) for topic, key, value in converted.messages for piece in self._scrub(topic, value)
        ]
        if converted.rejected:
            reason = f"{len(converted.rejected)} records of the message: {converted.rejected[0][1]}"
            found.append(self._letter(message, b"\n".join(raw for raw, _ in converted.rejected), reason))
        return found

    def _scrub(self, topic: str, value: bytes) -> list[bytes]:
        if topic not in _SCRUBBED:
            return [value]
        scrubbed, hits = self._scrubber.otlp(_SCRUBBED[topic], value)
        self._counters["scrubbed_total"] += hits.total()
        return list(cut(_SCRUBBED[topic], scrubbed, MAX_MESSAGE_BYTES))  # what is put in may be longer

    def _letter(self, message: Message, value: bytes, reason: str) -> Outgoing:
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        logger.warning("message cannot be read, it goes to dead_letters", **place, reason=reason)
        self._counters["dead_letters_total"] += 1
        headers = [(name, str(text).encode()) for name, text in {**place, "reason": reason[:900]}.items()]
        scrubbed, hits = self._scrubber.raw(value)
        self._counters["scrubbed_total"] += hits.total()
        return topics.DEAD_LETTERS, message.key(), scrubbed[:_LARGEST_LETTER], headers

    def _deliver(self, outgoing: Sequence[Outgoing]) -> bool:
        """Whether the broker has all of it; waits for one that is away until the service stops."""
        left = list(outgoing)
        while left:
            failed = self._attempt(left)
            if failed and self._stop.is_set():
                return False
            if failed:
                logger.warning("the broker does not take the data, trying again", messages=len(failed))
                self._stop.wait(_PAUSE_SECONDS)
                self._make_ready()
            left = failed
        return True

    def _attempt(self, outgoing: Sequence[Outgoing]) -> list[Outgoing]:
        """Produce and wait; what was not delivered."""
        delivered: set[int] = set()

        def report(number: int, error: KafkaError | None) -> None:
            if error is None:
                delivered.add(number)

        try:
            for number, (topic, key, value, headers) in enumerate(outgoing):
                self._produce(topic, key, value, headers, lambda error, _, number=number: report(number, error))
            self._wait()
        except KafkaException as error:
            logger.warning("the producer cannot go on, starting another", error=str(error))
            self._producer = self._new_producer()
        return [out for number, out in enumerate(outgoing) if number not in delivered]

    def _wait(self) -> None:
        """Until all is reported. One that answers and takes nothing has forgotten this producer: another may do."""
        before = -1
        while (left := self._producer.flush(_PATIENCE_SECONDS)) and not self._stop.is_set():
            self._make_ready()
            if left == before and log.reachable(self._producer):
                logger.warning("the broker takes nothing from this producer, starting another")
                self._producer.purge()
                self._producer = self._new_producer()
                return
            before = left

    def _produce(self, topic: str, key: Any, value: bytes, headers: list[tuple[str, bytes]], report: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
                return
            except BufferError:  # the broker is slower than this, or away
                if self._stop.is_set():
                    return
                self._wait()

    def _make_ready(self) -> None:
        """A broker that forgot its topics gets them again."""
        try:
            log.create_topics(self._settings.kafka_bootstrap, self._settings.kafka_partitions, wait_seconds=1)
        except (TimeoutError, KafkaException) as error:
            logger.warning("waiting for the Kafka broker", error=str(error))

    def _commit(self, messages: Sequence[Message]) -> None:
        reached: dict[tuple[str, int], int] = {}
        for message in messages:
            reached[(message.topic(), message.partition())] = message.offset() + 1
        try:
            self._consumer.commit(
                offsets=[TopicPartition(t, p, o) for (t, p), o in reached.items()], asynchronous=False
            )
        except KafkaException as error:  # another member has them now, or the broker is away: they come once more
            logger.warning("the offsets could not be committed, these messages may come twice", error=str(error))

"""Puts messages into the log and tells when the broker has them."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from forewarn.services.tracing import trace_headers
from forewarn.stores import log

logger = structlog.get_logger(__name__)

_UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
# After messages that timed out, librdkafka goes on with an epoch of its own; a broker that does not know it refuses all
# that this producer sends from then on, and librdkafka does not take that for fatal.
_REFUSED_FOR_GOOD = (
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
)
Headers = list[tuple[str, bytes]]
Outgoing = tuple[str, str, bytes] | tuple[str, str, bytes, Headers]  # topic, key, value


class Undelivered(Exception):  # noqa: N818  the sender is asked to try again
    """The broker does not have all of the messages."""


class Delivery:
    """A producer whose `send` returns once the broker has acknowledged every message.

    A producer that the broker takes nothing from any more (it forgot it, or fences it) is replaced by another; topics
    that a new broker does not have are made again.
    """

    def __init__(self, bootstrap: str, partitions: int, seconds: float = 4.0) -> None:
        self._bootstrap, self._partitions, self._seconds = bootstrap, partitions, seconds
        self._producer = self._new_producer()
        self._replaced: list[Producer] = []  # of which not all senders were told yet
        self._replacing = threading.Lock()
        self._fatal = threading.Event()
        self._topics_missing = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="delivery", daemon=True)
        self._thread.start()

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Return when all are delivered. Raises Undelivered if one is not, after about `seconds`."""
        if not messages:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[KafkaError | None] = loop.create_future()
        pending = _Pending(len(messages), loop, done)
        trace = trace_headers()
        with self._replacing:  # what is given to a producer after it was replaced would never be reported
            producer = self._producer
            for message in messages:
                topic, key, value = message[:3]
                headers = [*message[3], *trace] if len(message) == 4 else trace
                try:
                    producer.produce(topic, value, key, on_delivery=pending.report, headers=headers)
                except (BufferError, KafkaException) as error:
                    raise Undelivered(_reason(error)) from error
        failure = await done
        if failure is not None:
            if producer is self._producer:  # else another took its place meanwhile
                self._note(failure)
            raise Undelivered(failure.str())

    def reachable(self) -> bool:
        """Whether the broker answers now; blocks for up to 2 s."""
        return log.reachable(self._producer)

    def close(self) -> None:
        """Deliver what is under way, for a few seconds at most."""
        self._producer.flush(self._seconds)
        self._stopped.set()
        self._thread.join()

    def _new_producer(self) -> Producer:
        return log.producer(self._bootstrap, self._seconds, error_cb=self._note)

    def _note(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _REFUSED_FOR_GOOD:
            self._fatal.set()
        if error.code() in _UNKNOWN_TOPIC:
            self._topics_missing.set()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                self._producer.poll(0.1)
            except KafkaException as error:  # poll raises fatal errors instead of reporting them
                self._note(error.args[0])
            self._replaced = [old for old in self._replaced if _has_reports(old)]
            if self._fatal.is_set():
                self._replace_producer()
            if self._topics_missing.is_set():
                self._make_topics()

    def _replace_producer(self) -> None:
        logger.warning("the producer cannot go on (did the broker restart?), starting another")
        fresh = self._new_producer()
        with self._replacing:
            old, self._producer = self._producer, fresh
        self._fatal.clear()
        old.purge()  # their senders are told to try again
        self._replaced.append(old)

    def _make_topics(self) -> None:
        self._topics_missing.clear()
        try:
            log.create_topics(self._bootstrap, self._partitions, wait_seconds=2)
        except (TimeoutError, KafkaException) as error:
            logger.warning("topics are missing and cannot be created", error=str(error))


class _Pending:
    """Counts the delivery reports of one request."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[KafkaError | None]") -> None:
        self._left, self._loop, self._done = count, loop, done
        self._failure: KafkaError | None = None

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Called for each message, always in the thread that polls."""
        self._failure = self._failure or error
        self._left -= 1
        if not self._left and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._done.done():  # the sender may have gone
            self._done.set_result(self._failure)


def _has_reports(producer: Producer) -> bool:
    """Give the reports that are there; whether more will come."""
    with contextlib.suppress(KafkaException):
        producer.poll(0)
    return len(producer) > 0


def _reason(error: Any) -> str:
    if isinstance(error, BufferError):
        return "the queue to the broker is full"
    return str(error.args[0].str())

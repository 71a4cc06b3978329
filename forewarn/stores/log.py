"""The log: topics, producers and consumers of a Kafka-protocol broker (Redpanda, Kafka, Tansu)."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from forewarn.config.settings import Settings
from forewarn.stores.log_address import reach
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics

logger = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 900_000  # below the default limit of Kafka and Redpanda, 1 MB; larger batches are cut before
_REASON_BYTES = 1000


def create_topics(bootstrap: str, partitions: int, replication: int | None = None, wait_seconds: float = 60.0) -> None:
    """Create the topics that are missing; wait for a broker that is not there yet.

    replication: copies of each partition, -1: the broker's default; None: as FOREWARN_KAFKA_REPLICATION says.
    Raises TimeoutError with what to do next if there is none after `wait_seconds`.
    """
    admin = AdminClient({**reach(bootstrap), "log_level": 0})
    existing = _await_broker(admin, bootstrap, wait_seconds)
    copies = Settings().kafka_replication if replication is None else replication
    missing = [NewTopic(name, partitions, copies) for name in topics.ALL if name not in existing]
    for name, future in (admin.create_topics(missing, operation_timeout=20) if missing else {}).items():
        try:
            future.result(timeout=30)
            logger.info("topic created", topic=name, partitions=partitions)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def reachable(bootstrap_client: Any, seconds: float = 2.0) -> bool:
    """Whether a producer, consumer or admin client gets an answer from its broker."""
    try:
        return bool(bootstrap_client.list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def producer(bootstrap: str, delivery_seconds: float = 30.0, **settings: Any) -> Producer:
    """An idempotent producer: acks from all, no duplicates by retries, zstd batches.

    A message that is not delivered after `delivery_seconds` is reported as failed to its `on_delivery`; 0: it is tried
    for ever. After such a failure the producer goes on with a new epoch, which the embedded broker refuses: who gives a
    time must be ready to replace the producer.
    """
    return Producer(
        {
            **reach(bootstrap),
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 5,
            "message.timeout.ms": int(delivery_seconds * 1000),
            "message.max.bytes": 1_000_000,
            "queue.buffering.max.kbytes": 131_072,
            "partitioner": "murmur2_random",  # the Java client's: a key has one partition whoever writes it
            "reconnect.backoff.max.ms": 1000,
            "logger": _library_logger(),
            **settings,
        }
    )


def consumer(
    bootstrap: str,
    group: str,
    names: Sequence[str],
    on_assign: Callable[[Consumer, list[TopicPartition]], None] | None = None,
    on_revoke: Callable[[Consumer, list[TopicPartition]], None] | None = None,
    **settings: Any,
) -> Consumer:
    """A subscribed member of a consumer group: classic protocol, `range`, from the earliest message, no auto-commit.

    `range` gives partition n of every topic to the same member, so that all of an entity is in one place.
    """
    member = Consumer(
        {
            **reach(bootstrap),
            "group.id": group,
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6_000,  # the least that brokers allow: a killed member is replaced after it
            "heartbeat.interval.ms": 1_500,
            "fetch.wait.max.ms": 100,
            "fetch.message.max.bytes": 4 * 2**20,
            "queued.max.messages.kbytes": 65_536,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 10_000,
            "logger": _library_logger(),
            **settings,
        }
    )
    callbacks = {"on_assign": on_assign, "on_revoke": on_revoke}
    member.subscribe(list(names), **{name: call for name, call in callbacks.items() if call})
    return member


def start_offset(member: Consumer, partition: TopicPartition, stored: int | None) -> int:
    """Where to begin in a partition: at the stored next offset if the log still has it, else at its first message.

    A log that is shorter than the stored offset was started anew (the embedded broker keeps it in memory only).
    """
    if stored is None:
        return int(OFFSET_BEGINNING)
    try:
        low, high = member.get_watermark_offsets(partition, timeout=10)
    except KafkaException:
        return stored  # the broker does not say; the consumer asks again
    if stored > high:  # perhaps the broker understates its end: look closer before reading everything again
        brokers = member.list_topics(partition.topic, timeout=10).brokers.values()
        bootstrap = ",".join(f"{b.host}:{b.port}" for b in brokers)
        high = end_offsets(bootstrap, [partition.topic]).get((partition.topic, partition.partition), stored)
    if low <= stored <= high:
        return stored
    logger.warning(
        "the log does not have the stored offset, starting at its first message",
        topic=partition.topic, partition=partition.partition, stored=stored, first=low, end=high,
    )  # fmt: skip
    return int(low)


def dead_letter(to: Producer, message: Message, reason: str) -> None:
    """Put a message that cannot be read on `dead_letters`, with where it came from and why. `flush` delivers it."""
    cut = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    headers = {
        "topic": message.topic(), "partition": str(message.partition()), "offset": str(message.offset()), "reason": cut,
    }  # fmt: skip
    to.produce(
        topics.DEAD_LETTERS,
        key=message.key(),
        value=message.value(),
        headers=[
            *((name, str(text).encode()) for name, text in headers.items()),
            *((name, value) for name, value in message.headers() or [] if name == "traceparent"),  # the request's
        ],
    )


def _await_broker(admin: AdminClient, bootstrap: str, wait_seconds: float) -> set[str]:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return set(admin.list_topics(timeout=2).topics)
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no Kafka broker answers at {bootstrap} after {wait_seconds:.0f} s: start one "
                    "(`forewarn up`, Redpanda) or set FOREWARN_KAFKA_BOOTSTRAP to its address"
                ) from error
            logger.info(
                "waiting for the Kafka broker", bootstrap=bootstrap, seconds_left=round(deadline - time.monotonic())
            )
            time.sleep(0.5)


def _library_logger() -> Any:
    library = logging.getLogger("librdkafka")
    library.setLevel(logging.CRITICAL + 1)  # its reconnect lines are many; services say once that the broker is away
    return library

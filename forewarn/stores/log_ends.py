"""Where the log really ends, also on a broker that understates it."""

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from forewarn.stores.log_address import reach


def end_offsets(bootstrap: str, names: Iterable[str], seconds: float = 5.0) -> dict[tuple[str, int], int]:
    """The offset that the next message will get, by (topic, partition); partitions that do not answer are left out.

    Tansu answers the question for the latest offset with the base of the last batch plus one: too little wherever
    that batch has several messages. What a fetch reports is right on every broker, so the end is read from a fetch
    at the answered offset.

    Raises KafkaException where no broker answers.
    """
    probe = Consumer(
        {
            **reach(bootstrap), "group.id": "forewarn-log-ends", "enable.auto.commit": False,
            "enable.partition.eof": True, "log_level": 0, "fetch.wait.max.ms": 10,
        }
    )  # fmt: skip
    try:
        known = probe.list_topics(timeout=seconds).topics
        partitions = [TopicPartition(t, p) for t in names if t in known for p in known[t].partitions]
        return _read_ends(probe, partitions, time.monotonic() + seconds)
    finally:
        probe.close()


def _read_ends(probe: Consumer, partitions: list[TopicPartition], deadline: float) -> dict[tuple[str, int], int]:
    answered = {}
    for partition in partitions:
        low, high = probe.get_watermark_offsets(partition, timeout=max(0.1, deadline - time.monotonic()))
        answered[partition.topic, partition.partition] = (low, high)
    ends = {key: 0 for key, (low, high) in answered.items() if high == 0}
    waiting = set(answered) - set(ends)
    probe.assign([TopicPartition(t, p, answered[t, p][1]) for t, p in waiting])
    while waiting and time.monotonic() < deadline:
        message = probe.poll(max(0.0, min(0.2, deadline - time.monotonic())))
        if message is None:
            continue
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        key = (message.topic(), message.partition())
        offset = message.offset() + (error is None)  # the end itself, or a message before it
        ends[key] = max(ends.get(key, 0), offset)
        if error is not None:
            waiting.discard(key)
    return ends


def lag_of(member: Consumer) -> int:
    """Messages that are on the log and not taken yet, as far as the member has heard of them."""
    lag = 0
    for position in member.position(member.assignment()):
        try:
            _, high = member.get_watermark_offsets(position, cached=True)
        except KafkaException:
            continue
        lag += max(0, high - position.offset) if position.offset >= 0 else 0
    return lag

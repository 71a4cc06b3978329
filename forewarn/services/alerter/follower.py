"""Follows the log by the offsets that PostgreSQL keeps, and knows when it has read up to a moment."""

import logging
import time
from collections.abc import Sequence

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from forewarn.stores.log import start_offset
from forewarn.stores.log_address import reach
from forewarn.stores.offsets import Place
from forewarn.telemetry import topics

logger = structlog.get_logger(__name__)

BATCH = 500
TOPICS = (topics.RISKS, topics.OBSERVATIONS)


class Follower:
    """Reads all partitions of `risks` and `observations`.

    One alerter is active at a time (see leadership), so partitions are assigned without a consumer group: a successor
    goes on at once, with no rebalance to wait for.
    """

    def __init__(self, bootstrap: str, stored: dict[Place, int]) -> None:
        self._consumer = Consumer(
            {
                **reach(bootstrap),
                "group.id": "alerter",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 1000,
                "logger": logging.getLogger("librdkafka"),
            }
        )
        self.next: dict[Place, int] = {}
        self._drained = False
        self._assign(stored)

    def close(self) -> None:
        """Leave the log."""
        self._consumer.close()

    def read(self, seconds: float) -> list[Message]:
        """What has arrived, at most BATCH messages; waits up to `seconds` for the first."""
        first = self._consumer.poll(seconds)
        arrived = [] if first is None else [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        self._drained = len(arrived) < BATCH
        return self._accept(arrived)

    def read_until(self, ends: dict[Place, int], seconds: float) -> list[Message]:
        """Everything up to these ends, or what arrives within `seconds`."""
        deadline, messages = time.monotonic() + seconds, []
        while not self.reached(ends) and time.monotonic() < deadline:
            messages += self.read(0.05)
        return messages

    def ends(self, names: Sequence[str] = TOPICS) -> dict[Place, int]:
        """Where each partition ends now, at least: the embedded broker does not count the last batch in full.

        Raises KafkaException where the broker does not answer.
        """
        return {
            place: self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=5)[1]
            for place in self.next
            if place.topic in names
        }

    def reached(self, ends: dict[Place, int]) -> bool:
        """Whether everything before these ends was read, with the rest of the batch that an end may lie in."""
        return self._drained and all(self.next.get(place, 0) >= end for place, end in ends.items())

    def _assign(self, stored: dict[Place, int]) -> None:
        assignment = []
        for name in TOPICS:
            for partition in sorted(self._consumer.list_topics(name, timeout=10).topics[name].partitions):
                place, at = Place(name, partition), TopicPartition(name, partition)
                offset = start_offset(self._consumer, at, stored.get(place))
                low, _ = self._consumer.get_watermark_offsets(at, timeout=10)
                self.next[place] = low if offset == OFFSET_BEGINNING else offset
                assignment.append(TopicPartition(name, partition, self.next[place]))
        self._consumer.assign(assignment)

    def _accept(self, messages: Sequence[Message]) -> list[Message]:
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
                self.next[Place(str(message.topic()), int(message.partition() or 0))] = int(message.offset() or 0) + 1
            elif error.fatal():
                raise KafkaException(error)
            else:
                logger.warning("alerter: the broker reports an error, reading goes on", error=error.str())
        return good

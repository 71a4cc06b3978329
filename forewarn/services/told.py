"""What was told so far, read back from the log: a predictor that starts again neither repeats nor forgets."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from forewarn.risk.capacity_telling import is_capacity
from forewarn.risk.past import Key, Past
from forewarn.risk.records import (
    AnomalyObserved,
    AnyObservation,
    FailureObserved,
    Recovered,
    Risk,
    Watermark,
)
from forewarn.services.alerter.intake import read_record
from forewarn.stores.log_address import reach
from forewarn.telemetry import topics
from forewarn.telemetry.samples import namespace_of

logger = structlog.get_logger(__name__)

_ANOMALIES_KEPT = timedelta(days=8)  # those of a week make the next ones harder to tell


@dataclass(slots=True)
class Told:
    """Open risks and failures by (entity, signal), and how far each namespace was scored, by partition."""

    risks: dict[Key, Risk] = field(default_factory=dict)
    events: dict[Key, FailureObserved | Recovered] = field(default_factory=dict)  # the last of each signal
    watermarks: dict[tuple[str, int], datetime] = field(default_factory=dict)  # partition -1: all of the namespace
    predicted: dict[Key, datetime] = field(default_factory=dict)  # of the last risk, whatever its state
    anomalies: dict[str, list[AnomalyObserved]] = field(default_factory=dict)  # of each entity, the newest last

    def see(self, topic: str, payload: bytes | None) -> None:
        """Take one record of `risks` or `observations`, in the order of the log. Raises ValueError as read_record."""
        record = read_record(topic, payload)
        if isinstance(record, Risk):
            self._see_risk(record)
        else:
            self._see_observation(record)

    def _see_risk(self, risk: Risk) -> None:
        if is_capacity(risk.model_version):
            return  # an episode of its own, which the predictor does not go on with
        self.predicted[(risk.entity, risk.signal)] = risk.predicted_at
        if risk.state == "withdrawn":
            self.risks.pop((risk.entity, risk.signal), None)
        else:
            self.risks[(risk.entity, risk.signal)] = risk

    def _see_observation(self, observation: AnyObservation) -> None:
        if isinstance(observation, FailureObserved | Recovered):
            self.events[(observation.entity, observation.signal)] = observation
        elif isinstance(observation, AnomalyObserved):
            kept = self.anomalies.setdefault(observation.entity, [])
            kept[:] = [a for a in kept if a.at > observation.at - _ANOMALIES_KEPT] + [observation]
        elif isinstance(observation, Watermark):
            for partition in observation.partitions or [-1]:
                key = observation.namespace, partition
                self.watermarks[key] = max(observation.at, self.watermarks.get(key, observation.at))

    def past(self, namespace: str, partition: int) -> Past | None:
        """What was told of a namespace, None where nothing was."""
        scored = self.watermarks.get((namespace, partition), self.watermarks.get((namespace, -1)))
        predicted = {key: at for key, at in self.predicted.items() if namespace_of(key[0]) == namespace}
        events = {key: event for key, event in self.events.items() if namespace_of(key[0]) == namespace}
        if scored is None and not predicted and not events:
            return None
        return Past(scored, {key: self.risks[key] for key in predicted if key in self.risks}, predicted, events)


def read_told(bootstrap: str, timeout_seconds: float = 30.0) -> Told:
    """Read both topics from their first to their last message.

    Raises TimeoutError where the broker does not deliver them in time.
    """
    told = Told()
    failures: dict[Key, datetime] = {}
    reader = Consumer(
        {
            **reach(bootstrap), "group.id": "forewarn-told", "enable.auto.commit": False,
            "enable.partition.eof": True, "log_level": 0,
        }
    )  # fmt: skip
    try:
        unread = _assign_all(reader)
        deadline = time.monotonic() + timeout_seconds
        while unread:
            messages = reader.consume(1000, timeout=0.1)
            if messages:
                deadline = time.monotonic() + timeout_seconds
            elif time.monotonic() > deadline:
                raise TimeoutError(
                    f"{len(unread)} partitions of risks and observations were not read: is the broker well?"
                )
            for message in messages:
                if message.error() is None:
                    _see(told, failures, message.topic(), message.value())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    unread.discard((message.topic(), message.partition()))  # told again when more came after it
    finally:
        reader.close()
    for key, failed_at in failures.items():  # the topics are read side by side: a failure ends the risks before it
        if key in told.risks and told.risks[key].predicted_at <= failed_at:
            del told.risks[key]
    return told


def _see(told: Told, failures: dict[Key, datetime], topic: str, payload: bytes | None) -> None:
    try:
        told.see(topic, payload)
        if topic == topics.OBSERVATIONS:
            observation = read_record(topic, payload)
            if isinstance(observation, FailureObserved):
                failures[(observation.entity, observation.signal)] = observation.at
    except (ValueError, OverflowError) as error:  # a time that no calendar has
        logger.warning("a record that cannot be read was passed over", topic=topic, reason=str(error))


def _assign_all(reader: Consumer) -> set[tuple[str, int]]:
    """Assign every partition of both topics from its start; returns them."""
    partitions = [
        TopicPartition(name, number, OFFSET_BEGINNING)
        for name in (topics.RISKS, topics.OBSERVATIONS)
        for number in reader.list_topics(name, timeout=10).topics[name].partitions
    ]
    reader.assign(partitions)
    return {(partition.topic, partition.partition) for partition in partitions}

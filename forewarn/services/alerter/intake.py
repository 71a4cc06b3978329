"""Reads risks and observations from the log: in the order of their event times, and nothing malformed."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from confluent_kafka import Message

from forewarn.risk.records import (
    SCHEMA_VERSION,
    AnyObservation,
    FailureObserved,
    Recovered,
    Risk,
    decode_observation,
    decode_risk,
)
from forewarn.telemetry import topics

_RISK_STATES = ("open", "update", "withdrawn")
_MAX_HORIZON_SECONDS = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record and the message it came in."""

    record: Risk | AnyObservation
    message: Message

    @property
    def order(self) -> tuple[datetime, int]:
        """By event time; at the same time a prediction comes before what it is about, and the clock comes last."""
        if isinstance(self.record, Risk):
            return self.record.predicted_at, 0
        rank = {FailureObserved: 1, Recovered: 2}.get(type(self.record), 3)
        return self.record.at, rank


def read_record(topic: str, payload: bytes | None) -> Risk | AnyObservation:
    """The record in a message. Raises ValueError that says what is wrong with it."""
    try:
        if payload is None:
            raise ValueError("the message is empty")
        if topic == topics.RISKS:
            return _checked_risk(decode_risk(payload))
        return _checked_observation(decode_observation(payload))
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_messages(messages: Sequence[Message]) -> tuple[list[Record], list[tuple[Message, str]]]:
    """Records in the order in which to take them, and messages that cannot be read, each with the reason."""
    records, unreadable = [], []
    for message in messages:
        try:
            records.append(Record(read_record(message.topic() or "", message.value()), message))
        except ValueError as error:
            unreadable.append((message, str(error)))
    return sorted(records, key=lambda r: r.order), unreadable


def _checked_risk(risk: Risk) -> Risk:
    if risk.schema_version != SCHEMA_VERSION:
        raise ValueError(f"schema_version {risk.schema_version}: this alerter reads {SCHEMA_VERSION}")
    if risk.state not in _RISK_STATES:
        raise ValueError(f"state '{risk.state}' is none of {', '.join(_RISK_STATES)}")
    if not 0 <= risk.probability <= 1:
        raise ValueError(f"probability {risk.probability} is not between 0 and 1")
    if not 0 < risk.horizon_seconds <= _MAX_HORIZON_SECONDS:
        raise ValueError(f"horizon_seconds {risk.horizon_seconds} is not between 0 and ten years")
    if not math.isfinite(risk.limit):
        raise ValueError("limit is not a number")
    uuid.UUID(risk.episode)
    _checked_time(risk.predicted_at)
    return risk


def _checked_observation(observation: AnyObservation) -> AnyObservation:
    _checked_time(observation.at)
    return observation


def _checked_time(at: datetime) -> None:
    if at.tzinfo is None:
        raise ValueError(f"time {at.isoformat()} has no offset from UTC")

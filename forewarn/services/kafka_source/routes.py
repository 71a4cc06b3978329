"""Which foreign topic holds what, and what a message of it becomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from forewarn.config.settings import Settings
from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry import topics
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.log_json import read_json_logs
from forewarn.telemetry.otlp_check import kept
from forewarn.telemetry.otlp_json import parse_json
from forewarn.telemetry.otlp_split import Signal, cut, parse, split_by_entity

_TOPICS: dict[Signal, str] = {"metrics": topics.METRICS, "logs": topics.LOGS, "traces": topics.SPANS}
_ENCODINGS = ("otlp_proto", "otlp_json")


@dataclass(frozen=True, slots=True)
class Converted:
    """messages: topic, key (the entity) and value. records: log records in them, 0 for OTLP, whose are not counted.
    rejected: records that cannot be read, and the reason for each."""

    messages: list[tuple[str, str, bytes]]
    records: int = 0
    rejected: list[tuple[bytes, str]] = field(default_factory=list)


Convert = Callable[[bytes, int], Converted]  # value, time of arrival in nanoseconds; raises TelemetryError


def routes(settings: Settings) -> dict[str, Convert]:
    """What to do with a message of each configured topic. Raises ValueError with what is wrong in the settings."""
    found: dict[str, Convert] = dict.fromkeys(_names(settings.kafka_log_topics), _json_logs)
    for entry in _names(settings.kafka_otlp_topics):
        topic, signal, encoding = _otlp_entry(entry)
        if topic in found:
            raise ValueError(f"the topic {topic} is named twice in FOREWARN_KAFKA_LOG_TOPICS and _KAFKA_OTLP_TOPICS")
        found[topic] = partial(_otlp, signal, encoding, settings.max_ahead_seconds)
    own = (
        sorted(found.keys() & set(topics.ALL))
        if settings.kafka_source_brokers in (None, settings.kafka_bootstrap)
        else []
    )
    if own:
        raise ValueError(
            f"{', '.join(own)} is a topic of Forewarn itself: what is on it is read anyway. Let the sender write to a "
            "topic of another name, or name its broker in FOREWARN_KAFKA_SOURCE_BROKERS"
        )
    return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _otlp_entry(entry: str) -> tuple[str, Signal, str]:
    topic, _, kind = entry.partition("=")
    name, _, encoding = kind.partition("/")
    signal = next((one for one in get_args(Signal) if one == name.strip()), None)
    encoding = encoding.strip() or _ENCODINGS[0]
    if not topic.strip() or signal is None or encoding not in _ENCODINGS:
        raise ValueError(
            f"FOREWARN_KAFKA_OTLP_TOPICS: '{entry}' is not understood; write topic=signal or topic=signal/encoding "
            f"with a signal of {', '.join(get_args(Signal))} and an encoding of {', '.join(_ENCODINGS)}"
        )
    return topic.strip(), signal, encoding


def _json_logs(value: bytes, arrived_ns: int) -> Converted:
    logs = read_json_logs(value, arrived_ns)
    messages = [
        (topics.LOGS, entity, piece)
        for entity, request in logs.requests.items()
        for piece in cut("logs", request, MAX_MESSAGE_BYTES)
    ]
    if not logs.records:
        raise TelemetryError("the message holds no log record in JSON")
    return Converted(messages, logs.records, logs.rejected)


def _otlp(signal: Signal, encoding: str, ahead_seconds: float, value: bytes, arrived_ns: int) -> Converted:
    if encoding == "otlp_json":
        value = parse_json(signal, value).SerializeToString()
    checked = kept(signal, value, parse(signal, value), ahead_seconds)
    messages = [
        (_TOPICS[signal], entity, piece)
        for entity, request in split_by_entity(checked.payload).items()
        for piece in cut(signal, request, MAX_MESSAGE_BYTES)
    ]
    return Converted(messages, rejected=[(value, checked.reason)] if checked.rejected else [])

"""What is in a message, record by record, independent of how it was cut or joined: to be compared as a multiset."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from forewarn.services.gateway.body import unpack
from forewarn.telemetry.activity import decode_activity
from forewarn.telemetry.log_json import read_json_logs
from forewarn.telemetry.loki import decode_push, decode_push_json
from forewarn.telemetry.otlp_attributes import resource_entity
from forewarn.telemetry.otlp_json import parse_json
from forewarn.telemetry.otlp_logs import decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_split import REQUESTS, Signal, parse
from forewarn.telemetry.otlp_traces import decode_spans
from forewarn.telemetry.remote_write import decode_write_request

Fact = tuple[object, ...]
_LAST_TIME = 2**63 - 1
_STARTED = time.time_ns()


def otlp_facts(signal: Signal, request: Any) -> Iterator[Fact]:
    """Entity, metric and bytes of each data point, log record or span that has a usable time."""
    for of_resource in getattr(request, _RESOURCES[signal]):
        entity = resource_entity(of_resource.resource)
        for name, record in _RECORDS[signal](of_resource):
            yield entity, name, record.SerializeToString(deterministic=True)


def _points(of_resource: Any) -> Iterator[tuple[str, Any]]:
    for scope in of_resource.scope_metrics:
        for metric in scope.metrics:
            kind = metric.WhichOneof("data")
            for point in getattr(metric, kind).data_points if kind else ():
                if 0 < point.time_unix_nano <= _LAST_TIME:
                    yield f"{metric.name} {kind}", point


def _log_records(of_resource: Any) -> Iterator[tuple[str, Any]]:
    for scope in of_resource.scope_logs:
        for record in scope.log_records:
            for name in ("time_unix_nano", "observed_time_unix_nano"):
                if 0 <= getattr(record, name) - _STARTED + 10**9 < 3600 * 10**9:
                    setattr(record, name, 0)  # the gateway's clock: when it came
            if record.time_unix_nano <= _LAST_TIME and record.observed_time_unix_nano <= _LAST_TIME:
                yield "", record


def _spans(of_resource: Any) -> Iterator[tuple[str, Any]]:
    for scope in of_resource.scope_spans:
        yield from (("", span) for span in scope.spans if 0 < span.start_time_unix_nano <= _LAST_TIME)


_RECORDS: dict[str, Callable[[Any], Iterator[tuple[str, Any]]]] = {
    "metrics": _points, "logs": _log_records, "traces": _spans,
}  # fmt: skip
_RESOURCES = {"metrics": "resource_metrics", "logs": "resource_logs", "traces": "resource_spans"}
_DECODERS: dict[str, Callable[[bytes], Any]] = {"metrics": decode_metrics, "logs": decode_logs, "traces": decode_spans}


def otlp_sent(signal: Signal, body: bytes) -> list[Fact]:
    """Facts of a body in protobuf."""
    return list(otlp_facts(signal, parse(signal, body)))


def json_sent(signal: Signal, body: bytes) -> list[Fact]:
    """Facts of a body in OTLP's JSON."""
    return list(otlp_facts(signal, parse_json(signal, body)))


def otlp_read(signal: Signal, value: bytes) -> list[Fact]:
    """Facts of a message of the topic. Raises what the decoder raises where it cannot be read."""
    _DECODERS[signal](value)
    return list(otlp_facts(signal, REQUESTS[signal].FromString(value)))


def written(body: bytes) -> list[Fact]:
    """Facts of a remote write request."""
    requests = decode_write_request(body).requests
    return [fact for value in requests.values() for fact in otlp_sent("metrics", value)]


def log_lines(body: bytes) -> list[Fact]:
    """Facts of log records in JSON."""
    requests = read_json_logs(body, time.time_ns()).requests
    return [fact for value in requests.values() for fact in otlp_sent("logs", value)]


def loki(in_json: bool, body: bytes) -> list[Fact]:
    """Facts of a push request of Loki."""
    requests, _ = (decode_push_json if in_json else decode_push)(body, time.time_ns())
    return [fact for value in requests.values() for fact in otlp_sent("logs", value)]


def events(body: bytes) -> list[Fact]:
    """Facts of activity events; a time of arrival is none."""
    found: list[Fact] = []
    for event in decode_activity(body, datetime.now(UTC)):
        at = event.time.timestamp() if isinstance(event.time, datetime) else float(event.time or 0)
        arrival = abs(at - time.time()) < 3600
        found.append((event.service, event.action, event.user_hash, 0.0 if arrival else at, event.count))
    return found


def plain(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its encoding."""
    return unpack(body, encoding, limit)

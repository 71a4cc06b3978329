"""Cuts OTLP requests into messages of one entity each, and large ones into smaller ones."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import resource_entity

Signal = Literal["metrics", "logs", "traces"]
REQUESTS: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
_FIRST_FIELD = 0x0A  # tag of field 1, length-delimited: the resources of a request, the resource of an entry
_LARGEST_KEPT = 4096  # bytes of a resource that is remembered with its entity; few are so large
_PATHS: dict[Signal, tuple[str, ...]] = {
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "traces": ("resource_spans", "scope_spans", "spans"),
}


def parse(signal: Signal, payload: bytes) -> Message:
    """The request as a protobuf message. Raises TelemetryError where it is none."""
    try:
        return REQUESTS[signal].FromString(payload)
    except DecodeError as error:
        raise TelemetryError(f"the body is not an OTLP {signal} request in protobuf: {error}") from error


def split_by_entity(payload: bytes) -> dict[str, bytes]:
    """One request for each entity of a request that `parse` accepts.

    Entries are copied as bytes, not decoded: metrics, logs and traces number these fields alike.
    """
    parts: dict[str, list[bytes]] = {}
    for start, content, stop in _first_fields(payload):
        resource = _resource(payload[content:stop])
        entity = (_kept_entity if len(resource) < _LARGEST_KEPT else _entity)(resource)
        parts.setdefault(entity, []).append(payload[start:stop])
    return {entity: entries[0] if len(entries) == 1 else b"".join(entries) for entity, entries in parts.items()}


def cut(signal: Signal, payload: bytes, limit: int) -> Iterator[bytes]:
    """The request in pieces of at most `limit` bytes. Raises TelemetryError where a single record is larger."""
    if len(payload) <= limit:
        yield payload
        return
    for half in _halves(signal, parse(signal, payload)):
        yield from cut(signal, half.SerializeToString(), limit)


def _halves(signal: Signal, request: Message) -> Iterator[Message]:
    field = _widest(signal, request)
    middle = len(field(request)) // 2
    for keep in (slice(middle, None), slice(None, middle)):
        half = type(request)()
        half.CopyFrom(request)
        del field(half)[keep]
        yield half


def _widest(signal: Signal, request: Any) -> Any:
    """A function from a request to its outermost list that has more than one item."""
    for depth in range(1, len(_PATHS[signal]) + 1):
        path = _PATHS[signal][:depth]
        if len(_follow(request, path)) > 1:
            return lambda message: _follow(message, path)
    if signal == "metrics" and len(_points(request)) > 1:
        return _points
    raise TelemetryError(f"one record of the {signal} request is too large ({request.ByteSize()} bytes)")


def _follow(request: Any, path: tuple[str, ...]) -> Any:
    for name in path[:-1]:
        request = getattr(request, name)[0]
    return getattr(request, path[-1])


def _points(request: Any) -> Any:
    metric = _follow(request, _PATHS["metrics"])[0]
    return getattr(metric, metric.WhichOneof("data")).data_points if metric.WhichOneof("data") else ()


def _first_fields(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Start of the tag, start and end of the content of each length-delimited field 1 of a valid message."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        content, position = _content(message, position, tag & 7)
        if tag == _FIRST_FIELD:
            yield start, content, position


def _content(message: bytes, position: int, wire: int) -> tuple[int, int]:
    if wire == 2:
        length, position = _varint(message, position)
        return position, position + length
    if wire == 0:
        return position, _varint(message, position)[1]
    if wire in (1, 5):
        return position, position + (8 if wire == 1 else 4)
    raise TelemetryError("the body uses protobuf groups, which OTLP does not have")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise TelemetryError("the body is cut off")


def _resource(entry: bytes) -> bytes:
    # A field that comes twice is merged by protobuf, and to join the bytes is to merge.
    return b"".join(entry[content:stop] for _, content, stop in _first_fields(entry))


def _entity(resource: bytes) -> str:
    return resource_entity(Resource.FromString(resource))


@lru_cache(maxsize=4096)
def _kept_entity(resource: bytes) -> str:
    return _entity(resource)

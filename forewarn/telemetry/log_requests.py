"""Gathers log records from elsewhere into OTLP requests, one for each entity."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry.log_fields import severity_in
from forewarn.telemetry.otlp_attributes import resource_entity

_LARGEST_INT = 2**63


@dataclass(slots=True)
class Line:
    """A log record on its way in. time: nanoseconds since 1970, 0 where none was told; severity: as OTLP counts."""

    body: str
    time: int = 0
    severity: int = 0
    severity_text: str = ""
    trace_id: bytes = b""
    span_id: bytes = b""
    attributes: Mapping[str, Any] = field(default_factory=dict)


class LogRequests:
    """Collects lines by resource; `requests` are then ready for the log."""

    def __init__(self, now_ns: int) -> None:
        self._now = now_ns
        self._scopes: dict[tuple[tuple[str, str], ...], ScopeLogs] = {}
        self._requests: dict[str, ExportLogsServiceRequest] = {}
        self.count = 0

    def add(self, resource: Mapping[str, str], line: Line) -> None:
        """Add a line of a resource; without a severity, the line itself is asked for one."""
        severity = line.severity or severity_in(line.body)
        self._scope(tuple(sorted(resource.items()))).log_records.append(
            LogRecord(
                time_unix_nano=line.time,
                observed_time_unix_nano=self._now,
                severity_number=cast(Any, severity),  # an enum, whose values are ints
                severity_text=encodable(line.severity_text),
                body=AnyValue(string_value=encodable(line.body)),
                attributes=_pairs(line.attributes),
                trace_id=line.trace_id,
                span_id=line.span_id,
            )
        )
        self.count += 1

    def requests(self) -> dict[str, bytes]:
        """An ExportLogsServiceRequest in protobuf by entity."""
        return {entity: request.SerializeToString() for entity, request in self._requests.items()}

    def _scope(self, key: tuple[tuple[str, str], ...]) -> ScopeLogs:
        scope = self._scopes.get(key)
        if scope is None:
            resource = Resource(attributes=_pairs(dict(key)))
            request = self._requests.setdefault(resource_entity(resource), ExportLogsServiceRequest())
            scope = self._scopes[key] = request.resource_logs.add(resource=resource).scope_logs.add()
        return scope


def encodable(text: str) -> str:
    """The text with half surrogate pairs, which JSON can have and UTF-8 cannot, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_text(value: Any) -> str:
    """A JSON value as text: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """A value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=encodable(name), value=_any(value)) for name, value in attributes.items() if value is not None]


def _any(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -_LARGEST_INT <= value < _LARGEST_INT:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=encodable(as_text(value)))

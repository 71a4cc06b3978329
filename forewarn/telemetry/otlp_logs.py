"""OTLP logs (ExportLogsServiceRequest, protobuf) to records."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2 as pb

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import attribute_texts, clean, resource_entity, text_of

_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")  # four numbers each, from 1
_LAST_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of a log."""

    time: int  # nanoseconds since 1970 UTC
    entity: str
    severity: str  # TRACE, DEBUG, INFO, WARN, ERROR, FATAL, or '' where the sender tells none
    body: str
    attributes: dict[str, str] = field(default_factory=dict)


def decode_logs(payload: bytes) -> list[LogRecord]:
    """Records of one message, in its order. Raises TelemetryError with the reason for bytes that cannot be read."""
    try:
        request = ExportLogsServiceRequest.FromString(payload)
    except DecodeError as error:
        raise TelemetryError(f"not an OTLP logs message ({len(payload)} bytes): {error}") from error
    return list(_records(request))


def _records(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    for of_resource in request.resource_logs:
        entity = resource_entity(of_resource.resource)
        for of_scope in of_resource.scope_logs:
            yield from (_record(entity, record) for record in of_scope.log_records)


def _record(entity: str, record: pb.LogRecord) -> LogRecord:
    time = record.time_unix_nano or record.observed_time_unix_nano
    if not 0 < time <= _LAST_TIME:
        raise TelemetryError(f"a log record of {entity} has no usable time (time_unix_nano is {time})")
    return LogRecord(time, entity, _severity(record), text_of(record.body), attribute_texts(record.attributes))


def _severity(record: pb.LogRecord) -> str:
    if 1 <= record.severity_number <= 24:
        return _SEVERITIES[(record.severity_number - 1) // 4]
    return clean(record.severity_text).upper()

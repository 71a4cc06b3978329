"""OTLP traces (ExportTraceServiceRequest, protobuf) to spans."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import clean, resource_entity

_LAST_TIME = 2**63 - 1


class SpanKind(IntEnum):
    """The side of a call that a span tells of; numbers are OTLP's."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True)
class Span:
    """One operation of a trace."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes  # b'' for the root
    entity: str
    kind: SpanKind
    operation: str
    start: int  # nanoseconds since 1970 UTC
    duration_seconds: float
    error: bool


def decode_spans(payload: bytes) -> list[Span]:
    """Spans of one message, in its order. Raises TelemetryError with the reason for bytes that cannot be read."""
    try:
        request = ExportTraceServiceRequest.FromString(payload)
    except DecodeError as error:
        raise TelemetryError(f"not an OTLP traces message ({len(payload)} bytes): {error}") from error
    return list(_spans(request))


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        entity = resource_entity(of_resource.resource)
        for of_scope in of_resource.scope_spans:
            yield from (_span(entity, span) for span in of_scope.spans)


def _span(entity: str, span: pb.Span) -> Span:
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if not 0 < start <= _LAST_TIME:
        raise TelemetryError(f"a span of {entity} has no usable time (start_time_unix_nano is {start})")
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        entity=entity,
        kind=_KINDS.get(int(span.kind), SpanKind.UNSPECIFIED),
        operation=clean(span.name),
        start=start,
        duration_seconds=max(end - start, 0) / 1e9,  # a span that has not ended, or whose clock went back
        error=span.status.code == pb.Status.STATUS_CODE_ERROR,
    )


_KINDS = {int(kind): kind for kind in SpanKind}

"""Telemetry to OTLP protobuf: what senders of this project (replay, simulation) put on the wire."""

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from forewarn.telemetry.samples import resource_of

_SEVERITY_NUMBERS = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21}
_SPAN_KINDS = {
    "": Span.SPAN_KIND_UNSPECIFIED,
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
}


def encode_logs(
    entity: str,
    times_ns: Sequence[int],
    severities: Sequence[str],
    bodies: Sequence[str],
    attributes: Sequence[Mapping[str, str]] | None = None,
) -> bytes:
    """ExportLogsServiceRequest with the log records of one entity.

    times_ns: nanoseconds since 1970 UTC. severities: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; other texts are kept
    as the severity text. attributes: one mapping a record, or none.
    """
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend(_key_values(resource_of(entity)))
    records = resource.scope_logs.add().log_records
    for i, (time_ns, severity, body) in enumerate(zip(times_ns, severities, bodies, strict=True)):
        record = records.add(
            time_unix_nano=int(time_ns),
            observed_time_unix_nano=int(time_ns),
            severity_text=severity,
            severity_number=_SEVERITY_NUMBERS.get(severity.upper(), 0),
        )
        record.body.string_value = body
        if attributes is not None:
            record.attributes.extend(_key_values(attributes[i]))
    return bytes(request.SerializeToString())


def encode_spans(
    entity: str,
    trace_ids: Sequence[bytes],
    span_ids: Sequence[bytes],
    parent_span_ids: Sequence[bytes],
    operations: Sequence[str],
    kinds: Sequence[str],
    start_ns: Sequence[int],
    end_ns: Sequence[int],
    errors: Sequence[bool],
) -> bytes:
    """ExportTraceServiceRequest with the spans of one entity.

    trace_ids: 16 bytes each; span_ids: 8; parent_span_ids: 8, or empty for a root. kinds: server, client, internal,
    producer, consumer or ''. Times are nanoseconds since 1970 UTC. Raises KeyError for another kind.
    """
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_key_values(resource_of(entity)))
    spans = resource.scope_spans.add().spans
    rows = zip(trace_ids, span_ids, parent_span_ids, operations, kinds, start_ns, end_ns, errors, strict=True)
    for trace_id, span_id, parent, operation, kind, start, end, error in rows:
        span = spans.add(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=parent,
            name=operation,
            kind=_SPAN_KINDS[kind],
            start_time_unix_nano=int(start),
            end_time_unix_nano=int(end),
        )
        if error:
            span.status.code = Status.STATUS_CODE_ERROR
    return bytes(request.SerializeToString())


def _key_values(attributes: Mapping[str, str]) -> list[KeyValue]:
    pairs = []
    for key, value in attributes.items():
        pair = KeyValue(key=key)
        pair.value.string_value = value
        pairs.append(pair)
    return pairs

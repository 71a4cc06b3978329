"""Telemetry to OTLP protobuf: what senders of this project (replay, simulation) put on the wire.

Metrics are packed by hand: all data points of a series have the same length on the wire, so a series is one
structured NumPy array (protobuf.dev/programming-guides/encoding; field numbers of opentelemetry-proto).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from forewarn.telemetry.samples import Kind, Series, resource_of

_SCOPE = "forewarn"
_DELTA, _CUMULATIVE = 1, 2  # AggregationTemporality
_SEVERITY_NUMBERS = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21}
_SPAN_KINDS = {
    "": Span.SPAN_KIND_UNSPECIFIED,
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
}


def encode_metrics(
    entity: str,
    series: Sequence[Series],
    times_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    starts_ns: NDArray[np.int64] | None = None,
) -> bytes:
    """An ExportMetricsServiceRequest with the samples of one entity; NaN values are left out.

    series: [S]; times_ns: int64 [T]; values: float64 [S, T]; starts_ns: int64 [T], since when the counters count.
    Raises ValueError where the shapes do not fit.
    """
    if values.shape != (len(series), len(times_ns)):
        raise ValueError(f"values have shape {values.shape}, {len(series)} series × {len(times_ns)} times were given")
    metrics = (_metric(one, times_ns, row, starts_ns) for one, row in zip(series, values, strict=True))
    scope = _bytes(1, _bytes(1, _SCOPE.encode())) + b"".join(_bytes(2, metric) for metric in metrics if metric)
    return _bytes(1, _bytes(1, _resource(entity)) + _bytes(2, scope))


def encode_logs(
    entity: str,
    times_ns: Sequence[int],
    severities: Sequence[str],
    bodies: Sequence[str],
    attributes: Sequence[Mapping[str, str]] | None = None,
    trace_ids: Sequence[bytes] | None = None,
    span_ids: Sequence[bytes] | None = None,
) -> bytes:
    """ExportLogsServiceRequest with the log records of one entity.

    times_ns: nanoseconds since 1970 UTC. severities: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; other texts are kept
    as the severity text. attributes: one mapping a record, or none. trace_ids, span_ids: of the span that a record
    belongs to, b'' without one.
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
        if trace_ids is not None and span_ids is not None:
            record.trace_id, record.span_id = trace_ids[i], span_ids[i]
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


def _metric(
    series: Series, times: NDArray[np.int64], row: NDArray[np.float64], starts: NDArray[np.int64] | None
) -> bytes:
    """A Metric message; empty where every value is missing."""
    there = ~np.isnan(row)
    if not there.any():
        return b""
    starts = starts[there] if starts is not None and series.kind is not Kind.GAUGE else None
    points = _points(series.attributes, times[there], row[there], starts)
    head = _bytes(1, series.signal.encode()) + (_bytes(3, series.unit.encode()) if series.unit else b"")
    if series.kind is Kind.GAUGE:
        return head + _bytes(5, points)
    temporality = _CUMULATIVE if series.kind is Kind.CUMULATIVE else _DELTA
    return head + _bytes(7, points + bytes([0x10, temporality, 0x18, 1]))  # aggregation_temporality, is_monotonic


def _points(
    attributes: Sequence[tuple[str, str]],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int64] | None,
) -> bytes:
    """Repeated NumberDataPoint (field 1 of Gauge and Sum), one row of a packed array each."""
    tail = b"".join(_bytes(7, _key_value(key, value)) for key, value in attributes)
    fields = ([("start_tag", "u1"), ("start", "<u8")] if starts is not None else []) + [
        ("time_tag", "u1"),
        ("time", "<u8"),
        ("value_tag", "u1"),
        ("value", "<f8"),
    ]
    head = b"\x0a" + _varint(np.dtype(fields).itemsize + len(tail))
    points = np.empty(len(times), np.dtype([("head", f"V{len(head)}"), *fields, *_tail_field(tail)]))
    points["head"] = np.void(head)
    if starts is not None:
        points["start_tag"], points["start"] = 0x11, starts
    points["time_tag"], points["time"] = 0x19, times
    points["value_tag"], points["value"] = 0x21, values
    if tail:
        points["tail"] = np.void(tail)
    return points.tobytes()


def _tail_field(tail: bytes) -> list[tuple[str, str]]:
    return [("tail", f"V{len(tail)}")] if tail else []


def _resource(entity: str) -> bytes:
    return b"".join(_bytes(1, _key_value(key, value)) for key, value in resource_of(entity).items())


def _key_value(key: str, value: str) -> bytes:
    """A KeyValue with a string value."""
    return _bytes(1, key.encode()) + _bytes(2, _bytes(1, value.encode()))


def _bytes(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

"""Prometheus remote write 1.0 to OTLP metrics, one request for each entity.

https://prometheus.io/docs/specs/prw/remote_write_spec/. What a series is called is worked out once: its labels are
looked up by their bytes on the wire.
"""

import struct
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import resource_entity
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest

_STALE = struct.pack("<Q", 0x7FF0000000000002)  # the value that tells that a series has ended
_COUNTERS = ("_total", "_count", "_sum", "_bucket")
_RESOURCE = {"job": "service.name", "namespace": "service.namespace", "instance": "service.instance.id"}
_POINT = struct.Struct("<BqBd")
_STALE_POINT = struct.Struct("<BqBB")
_TIME, _DOUBLE, _FLAGS, _NO_RECORDED_VALUE = 0x19, 0x21, 0x40, 1  # fields of a NumberDataPoint, and its flag
_LATEST_MS = 2**63 // 10**6
_SERIES_KEPT = 1_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    """A series as its parts on OTLP's wire."""

    entity: str
    resource: bytes  # field 1 of ResourceMetrics
    metric: bytes  # name of the Metric
    attributes: bytes  # of the data point
    counter: bool


@dataclass(frozen=True, slots=True)
class Written:
    """requests: OTLP ExportMetricsServiceRequest by entity. samples: how many are in them. histograms: native
    histograms that were left out."""

    requests: dict[str, bytes]
    samples: int
    histograms: int


_known: dict[bytes, _Known] = {}


def decode_write_request(body: bytes) -> Written:
    """Samples of an unpacked WriteRequest. Raises TelemetryError for what cannot be read.

    `job` names the service, `namespace` (or the part of `job` before a '/') its namespace; `instance` is its instance
    and stays an attribute. Series whose name ends in _total, _count, _sum or _bucket are cumulative counters, all
    others gauges. A staleness marker becomes a point with NO_RECORDED_VALUE; other NaN are left out.
    """
    try:
        request = WriteRequest.FromString(body)
    except DecodeError as error:
        raise TelemetryError(f"the body is not a remote write 1.0 request in protobuf: {error}") from error
    metrics: dict[tuple[str, bytes], list[bytes]] = {}
    samples = histograms = 0
    for series in request.timeseries:
        histograms += len(series.histograms)
        known = _series(series)
        points = [_point(sample, known.attributes) for sample in series.samples]
        points = [point for point in points if point]
        if points:
            metrics.setdefault((known.entity, known.resource), []).append(_metric(known, points))
            samples += len(points)
    requests: dict[str, bytes] = {}
    for (entity, resource), parts in metrics.items():
        requests[entity] = requests.get(entity, b"") + _field(0x0A, resource + _field(0x12, b"".join(parts)))
    return Written(requests, samples, histograms)


def _series(series: TimeSeries) -> _Known:
    key = b"\x00".join(series.labels)
    known = _known.get(key)
    if known is None:
        known = _read_labels(series.labels)
        if len(_known) >= _SERIES_KEPT:
            _known.clear()
        _known[key] = known
    return known


def _read_labels(raw: list[bytes]) -> _Known:
    try:
        labels = {label.name: label.value for label in map(Label.FromString, raw)}
    except DecodeError as error:
        raise TelemetryError(f"the labels of a series cannot be read: {error}") from error
    name = labels.pop("__name__", "")
    if not name:
        raise TelemetryError("a series has no name (label __name__)")
    told = {key: labels[key] for key in _RESOURCE if labels.get(key)}
    namespace, slash, service = told.get("job", "").rpartition("/")
    if slash and "namespace" not in told:
        told |= {"namespace": namespace.replace("/", "."), "job": service}
    attributes = {key: value for key, value in labels.items() if key not in ("job", "namespace")}
    resource = Resource(attributes=_pairs({_RESOURCE[key]: value for key, value in told.items()}))
    return _Known(
        resource_entity(resource),
        _field(0x0A, resource.SerializeToString()),
        Metric(name=name).SerializeToString(),
        NumberDataPoint(attributes=_pairs(attributes)).SerializeToString(),
        name.endswith(_COUNTERS),
    )


def _pairs(texts: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in texts.items()]


def _point(sample: Sample, attributes: bytes) -> bytes:
    """A NumberDataPoint; empty for a value that is not a number."""
    milliseconds, value = sample.timestamp, sample.value
    if not 0 < milliseconds < _LATEST_MS:
        raise TelemetryError(f"a sample has timestamp {milliseconds} ms, which is no time since 1970")
    if value == value:
        return _field(0x0A, _POINT.pack(_TIME, milliseconds * 1_000_000, _DOUBLE, value) + attributes)
    if struct.pack("<d", value) != _STALE:
        return b""
    return _field(0x0A, _STALE_POINT.pack(_TIME, milliseconds * 1_000_000, _FLAGS, _NO_RECORDED_VALUE) + attributes)


def _metric(known: _Known, points: list[bytes]) -> bytes:
    """Field 2 of ScopeMetrics: a gauge, or a cumulative monotonic sum."""
    data = b"".join(points)
    content = _field(0x3A, data + b"\x10\x02\x18\x01") if known.counter else _field(0x2A, data)
    return _field(0x12, known.metric + content)


def _field(tag: int, content: bytes) -> bytes:
    """A length-delimited field."""
    length, size = len(content), bytearray([tag])
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes(size) + content

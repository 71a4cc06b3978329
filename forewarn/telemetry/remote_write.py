"""Prometheus remote write 1.0 to OTLP metrics, one request for each entity.

https://prometheus.io/docs/specs/prw/remote_write_spec/. What a series is called is worked out once: its labels are
looked up by their bytes on the wire. Samples become data points without Python for each of them.
"""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry import remote_write_walk as walk
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import resource_entity
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest

_STALE = struct.pack("<Q", 0x7FF0000000000002)  # the value that tells that a series has ended
_COUNTERS = ("_total", "_count", "_sum", "_bucket")
_RESOURCE = {"job": "service.name", "namespace": "service.namespace", "instance": "service.instance.id"}
_POINT = struct.Struct("<BqBd")
_STALE_POINT = struct.Struct("<BqBB")
_TIME, _DOUBLE, _FLAGS, _NO_RECORDED_VALUE = 0x19, 0x21, 0x40, 1  # fields of a NumberDataPoint, and its flag
_SERIES_KEPT, _BYTES_KEPT = 1_000_000, 256 * 2**20
_SEED = int.from_bytes(os.urandom(8), "little")


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


class _Memory:
    """Series that were met: where their bytes are, by the hash of their labels. Emptied when full.

    What one request adds comes on top of the limit of bytes.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # the doors read requests in several threads
        self._clear()

    def _clear(self) -> None:
        self._keys, self._numbers = np.zeros(1024, np.uint64), np.full(1024, -1, np.int32)  # a hash table
        self._known, self._series = 0, np.zeros((512, walk.KNOWN), np.int64)
        self._groups: dict[tuple[str, bytes], int] = {}
        self._group_bytes = 0
        self._pool, self._used = np.zeros(1 << 16, np.uint8), 0

    def encode(self, body: bytes, latest_ms: int) -> Written | None:
        """None for the protobuf library to judge. Raises DecodeError or TelemetryError for labels it cannot read."""
        found = walk.find_series(body, _SEED)
        if found is None:
            return None
        with self._lock:
            numbers = self._numbered(body, found)
            known = self._series[numbers]
            groups, pool = list(self._groups), self._pool
        encoded = walk.encode(body, found.rows, known, pool, len(groups), latest_ms)
        if encoded is None:
            return None
        requests: dict[str, bytes] = {}
        starts = encoded.starts.tolist()
        for i, group in enumerate(encoded.groups.tolist()):
            entity, resource = groups[group]
            metrics = encoded.data[starts[i] : starts[i + 1]].tobytes()
            requests[entity] = requests.get(entity, b"") + _field(0x0A, resource + _field(0x12, metrics))
        return Written(requests, encoded.samples, int(found.rows[:, walk.HISTOGRAMS].sum()))

    def _numbered(self, body: bytes, found: walk.Found) -> NDArray[np.int64]:
        """Rows of the series, those of new ones too."""
        numbers = walk.look_up(found.keys, self._keys, self._numbers)
        if (numbers >= 0).all():
            return numbers
        if self._known + len(numbers) > _SERIES_KEPT or self._used + self._group_bytes > _BYTES_KEPT:
            self._clear()
        for i in range(len(numbers)):
            numbers[i] = walk.look_up(found.keys[i : i + 1], self._keys, self._numbers)[0]
            if numbers[i] < 0:
                start, stop = found.rows[i, : walk.STOP + 1].tolist()
                labels = list(TimeSeries.FromString(body[start:stop]).labels)
                numbers[i] = self._remember(int(found.keys[i]), _read_labels(labels))
        return numbers

    def _remember(self, key: int, one: _Known) -> int:
        number = self._known
        if number == len(self._series):
            self._grow()
        met = len(self._groups)
        group = self._groups.setdefault((one.entity, one.resource), met)
        self._group_bytes += len(one.resource) if group == met else 0
        name, attributes = self._stored(one.metric), self._stored(one.attributes)
        self._series[number] = group, one.counter, *name, *attributes
        walk.enter(key, number, self._keys, self._numbers)
        self._known += 1
        return number

    def _grow(self) -> None:
        keys, numbers = self._keys, self._numbers
        self._series = np.concatenate((self._series, np.zeros_like(self._series)))
        self._keys, self._numbers = np.zeros(2 * len(keys), np.uint64), np.full(2 * len(keys), -1, np.int32)
        for slot in np.flatnonzero(numbers >= 0).tolist():
            walk.enter(int(keys[slot]), int(numbers[slot]), self._keys, self._numbers)

    def _stored(self, content: bytes) -> tuple[int, int]:
        start, stop = self._used, self._used + len(content)
        if stop > len(self._pool):  # a copy: a thread may be reading the old one
            self._pool = np.concatenate((self._pool, np.zeros(max(len(self._pool), len(content)), np.uint8)))
        self._pool[start:stop] = np.frombuffer(content, np.uint8)
        self._used = stop
        return start, stop


_memory = _Memory()


def decode_write_request(body: bytes, latest_ms: int = walk.LATEST_MS) -> Written:
    """Samples of an unpacked WriteRequest. Raises TelemetryError for what cannot be read.

    `job` names the service, `namespace` (or the part of `job` before a '/') its namespace; `instance` is its instance
    and stays an attribute. Series whose name ends in _total, _count, _sum or _bucket are cumulative counters, all
    others gauges. A staleness marker becomes a point with NO_RECORDED_VALUE; other NaN are left out.
    latest_ms: a request with a sample after that is refused.
    """
    try:
        written = _memory.encode(body, latest_ms)
    except (DecodeError, TelemetryError):  # the reference says what is wrong first
        written = None
    return decode_write_request_reference(body, latest_ms) if written is None else written


def decode_write_request_reference(body: bytes, latest_ms: int = walk.LATEST_MS) -> Written:
    """The same by the protobuf library, sample by sample: what the compiled way must be equal to."""
    try:
        request = WriteRequest.FromString(body)
    except DecodeError as error:
        raise TelemetryError(f"the body is not a remote write 1.0 request in protobuf: {error}") from error
    metrics: dict[tuple[str, bytes], list[bytes]] = {}
    samples = histograms = 0
    for series in request.timeseries:
        histograms += len(series.histograms)
        known = _read_labels(series.labels)
        points = [_point(sample, known.attributes, latest_ms) for sample in series.samples]
        points = [point for point in points if point]
        if points:
            metrics.setdefault((known.entity, known.resource), []).append(_metric(known, points))
            samples += len(points)
    requests: dict[str, bytes] = {}
    for (entity, resource), parts in metrics.items():
        requests[entity] = requests.get(entity, b"") + _field(0x0A, resource + _field(0x12, b"".join(parts)))
    return Written(requests, samples, histograms)


def _read_labels(raw: Iterable[bytes]) -> _Known:
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


def _point(sample: Sample, attributes: bytes, latest_ms: int) -> bytes:
    """A NumberDataPoint; empty for a value that is not a number."""
    milliseconds, value = sample.timestamp, sample.value
    if not 0 < milliseconds <= walk.LATEST_MS:
        raise TelemetryError(f"a sample has timestamp {milliseconds} ms, which is no time since 1970")
    if milliseconds > latest_ms:
        raise TelemetryError(
            f"a sample has timestamp {milliseconds} ms, {(milliseconds - latest_ms) / 1000:.0f} s after what is "
            "believed now: is the clock of Prometheus right? FOREWARN_MAX_AHEAD_SECONDS says how far ahead it may be"
        )
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

"""OTLP metrics to samples by the protobuf library: complete and plain, one data point after the other.

`otlp_metrics.decode_metrics` is the fast one; it uses this for summaries, and for messages that are legal but unusual.
Tests hold the two equal.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from forewarn.telemetry import otlp_walk as walk
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.histograms import HistogramState, histogram_batch
from forewarn.telemetry.otlp_attributes import attribute_texts, bounded, clean, resource_entity
from forewarn.telemetry.samples import Kind, SampleBatch, Series
from forewarn.telemetry.units import base_unit

Sample = tuple[Series, int, float]  # time in nanoseconds
_STALE = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_LAST_TIME = 2**63 - 1


def decode_metrics_reference(payload: bytes, state: HistogramState | None = None) -> SampleBatch:
    """Samples of an ExportMetricsServiceRequest, see `decode_metrics`. Raises TelemetryError."""
    try:
        request = ExportMetricsServiceRequest.FromString(payload)
    except DecodeError as error:
        raise TelemetryError(f"not an OTLP metrics message ({len(payload)} bytes): {error}") from error
    state = state or HistogramState()
    numbers, classic = state.classic_gauges(batch_of(list(_request_samples(request))))
    return batch_of(
        [
            (batch.series[i], int(time), float(value))
            for batch in (numbers, _histograms(request, state), classic)
            if batch is not None
            for i, time, value in zip(batch.index, batch.times, batch.values, strict=True)
        ]
    )


def batch_of(samples: list[Sample]) -> SampleBatch:
    """Samples as arrays; equal series become one."""
    numbers: dict[Series, int] = {}
    index = [numbers.setdefault(series, len(numbers)) for series, _, _ in samples]
    return SampleBatch(
        series=tuple(numbers),
        index=np.array(index, np.int32),
        times=np.array([time for _, time, _ in samples], np.int64),
        values=np.array([value for _, _, value in samples], np.float64),
    )


def metric_samples(entity: str, metric: pb.Metric) -> Iterator[Sample]:
    """Samples of one gauge, sum or summary of an entity. Raises TelemetryError for a point without a time."""
    kind = metric.WhichOneof("data")
    if kind is None or kind not in _READERS:
        return
    data = getattr(metric, kind)
    name, (unit, factor) = bounded(clean(metric.name)), base_unit(bounded(clean(metric.unit)))
    for point in data.data_points:
        attributes = attributes_of(point)
        time = checked_time(point.time_unix_nano, name)

        def series(suffix: str, of: Kind, its_unit: str = unit, attributes: Any = attributes) -> Series:
            return Series(entity, name + suffix, attributes, of, its_unit)

        for made, value, scaled in _READERS[kind](data, point, series):
            yield made, time, float("nan") if point.flags & _STALE else value * factor if scaled else value


def attributes_of(point: Any) -> tuple[tuple[str, str], ...]:
    """Attributes of a data point, sorted by name, bounded in length."""
    return tuple(sorted((bounded(k), bounded(v)) for k, v in attribute_texts(point.attributes).items()))


def checked_time(time: int, metric: str) -> int:
    """The time of a point. Raises TelemetryError where there is none or it does not fit."""
    if time == 0:
        raise TelemetryError(f"a data point of metric '{metric}' has no time (time_unix_nano is 0)")
    if time > _LAST_TIME:
        raise TelemetryError(f"a data point of metric '{metric}' has time {time} ns, which is after the year 2262")
    return time


def number_kind(data: pb.Gauge | pb.Sum) -> Kind:
    """How values of a gauge or sum are to be read: a sum that may fall is a gauge unless it tells differences."""
    if isinstance(data, pb.Gauge):
        return Kind.GAUGE
    if data.aggregation_temporality == pb.AGGREGATION_TEMPORALITY_DELTA:
        return Kind.DELTA
    return Kind.CUMULATIVE if data.is_monotonic else Kind.GAUGE


_MakeSeries = Callable[..., Series]
_Values = Iterator[tuple[Series, float, bool]]  # whether the value is in the metric's unit


def _number(data: pb.Gauge | pb.Sum, point: pb.NumberDataPoint, series: _MakeSeries) -> _Values:
    which = point.WhichOneof("value")
    yield series("", number_kind(data)), float(getattr(point, which)) if which else float("nan"), True


def _summary(data: pb.Summary, point: pb.SummaryDataPoint, series: _MakeSeries) -> _Values:
    yield series(".count", Kind.CUMULATIVE, ""), float(point.count), False
    yield series(".sum", Kind.CUMULATIVE), point.sum, True
    for at in point.quantile_values:
        yield series(f".p{at.quantile * 100:g}", Kind.GAUGE), at.value, True


_READERS: dict[str, Callable[..., _Values]] = {"gauge": _number, "sum": _number, "summary": _summary}


def _request_samples(request: ExportMetricsServiceRequest) -> Iterator[Sample]:
    for entity, metric in _metrics(request):
        yield from metric_samples(entity, metric)


def _metrics(request: ExportMetricsServiceRequest) -> Iterator[tuple[str, pb.Metric]]:
    for of_resource in request.resource_metrics:
        entity = resource_entity(of_resource.resource)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield entity, metric


def _histograms(request: ExportMetricsServiceRequest, state: HistogramState) -> SampleBatch | None:
    """Signals of the histograms of a request, by the same state as those that were walked."""
    numbers: dict[Series, int] = {}
    found: list[tuple[int, float, Any]] = []
    for entity, metric in _metrics(request):
        kind = metric.WhichOneof("data")
        if kind not in ("histogram", "exponential_histogram"):
            continue
        data = getattr(metric, kind)
        name, (unit, factor) = bounded(clean(metric.name)), base_unit(bounded(clean(metric.unit)))
        for point in data.data_points:
            delta = data.aggregation_temporality == pb.AGGREGATION_TEMPORALITY_DELTA
            series = Series(entity, name, attributes_of(point), Kind.DELTA if delta else Kind.CUMULATIVE, unit)
            checked_time(point.time_unix_nano, name)
            found.append((numbers.setdefault(series, len(numbers)), factor, point))
    if not found:
        return None
    factors = np.array([factor for _, factor, _ in found])
    return histogram_batch(tuple(numbers), _points([(i, point) for i, _, point in found]), factors, state)


def _points(found: list[tuple[int, Any]]) -> walk.Histograms:
    numbers, layout = np.full((len(found), walk.NUMBERS), np.nan), np.zeros((len(found), walk.LAYOUT), np.int64)
    counts: list[list[float]] = []
    bounds: list[list[float]] = []
    for i, (_, point) in enumerate(found):
        numbers[i, walk.COUNT], numbers[i, walk.ZERO_THRESHOLD], numbers[i, walk.ZERO_COUNT] = point.count, 0, 0
        for column, name in ((walk.TOTAL, "sum"), (walk.LEAST, "min"), (walk.MOST, "max")):
            numbers[i, column] = getattr(point, name) if point.HasField(name) else np.nan
        if isinstance(point, pb.HistogramDataPoint):
            layout[i, walk.SCALE] = walk.EXPLICIT
            counts.append(list(map(float, point.bucket_counts)))
            bounds.append(list(point.explicit_bounds))
        else:
            positive, negative = point.positive, point.negative
            layout[i] = point.scale, positive.offset, len(positive.bucket_counts), negative.offset
            numbers[i, walk.ZERO_THRESHOLD], numbers[i, walk.ZERO_COUNT] = point.zero_threshold, point.zero_count
            counts.append([*map(float, positive.bucket_counts), *map(float, negative.bucket_counts)])
            bounds.append([])
    times = [[point.time_unix_nano, min(point.start_time_unix_nano, _LAST_TIME), point.flags & 1] for _, point in found]
    table, none = np.array(times, np.int64), np.zeros(0, np.int64)
    return walk.Histograms(
        np.array([i for i, _ in found], np.int32), table[:, 0], table[:, 1], table[:, 2] != 0, numbers, layout,
        _places(counts), np.array([c for each in counts for c in each], np.float64),
        _places(bounds), np.array([b for each in bounds for b in each], np.float64),
        none.astype(np.uint64), none, none, none,
    )  # fmt: skip


def _places(lists: list[list[float]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, lists)], dtype=np.int64)

"""OTLP metrics to samples by the protobuf library: complete and plain, one data point after the other.

`otlp_metrics.decode_metrics` is the fast one; it uses this for histograms and summaries, and for messages that are
legal but unusual. Tests hold the two equal.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import attribute_texts, bounded, clean, resource_entity
from forewarn.telemetry.samples import Kind, SampleBatch, Series

Sample = tuple[Series, int, float]  # time in nanoseconds
_STALE = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_LAST_TIME = 2**63 - 1


def decode_metrics_reference(payload: bytes) -> SampleBatch:
    """Samples of an ExportMetricsServiceRequest. Raises TelemetryError."""
    try:
        request = ExportMetricsServiceRequest.FromString(payload)
    except DecodeError as error:
        raise TelemetryError(f"not an OTLP metrics message ({len(payload)} bytes): {error}") from error
    return batch_of(list(_request_samples(request)))


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
    """Samples of one metric of an entity. Raises TelemetryError for a point without a time."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    name, unit = bounded(clean(metric.name)), bounded(clean(metric.unit))
    reader = _READERS[kind]
    for point in data.data_points:
        attributes = attributes_of(point)
        time = checked_time(point.time_unix_nano, name)

        def series(suffix: str, of: Kind, its_unit: str = unit, attributes: Any = attributes) -> Series:
            return Series(entity, name + suffix, attributes, of, its_unit)

        for made, value in reader(data, point, series):
            yield made, time, float("nan") if point.flags & _STALE else value


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
_Values = Iterator[tuple[Series, float]]


def _number(data: pb.Gauge | pb.Sum, point: pb.NumberDataPoint, series: _MakeSeries) -> _Values:
    which = point.WhichOneof("value")
    yield series("", number_kind(data)), float(getattr(point, which)) if which else float("nan")


def _histogram(data: pb.Histogram, point: pb.HistogramDataPoint, series: _MakeSeries) -> _Values:
    yield from _count_and_sum(data, point, series)
    # Quantiles of a cumulative histogram need the difference to the last point: the feature state makes them.
    if data.aggregation_temporality == pb.AGGREGATION_TEMPORALITY_DELTA and point.count:
        for suffix, q in ((".p50", 0.5), (".p99", 0.99)):
            yield series(suffix, Kind.GAUGE), histogram_quantile(point, q)


def _count_and_sum(data: Any, point: Any, series: _MakeSeries) -> _Values:
    delta = data.aggregation_temporality == pb.AGGREGATION_TEMPORALITY_DELTA
    kind = Kind.DELTA if delta else Kind.CUMULATIVE
    yield series(".count", kind, ""), float(point.count)
    if point.HasField("sum"):
        yield series(".sum", kind), point.sum


def _summary(data: pb.Summary, point: pb.SummaryDataPoint, series: _MakeSeries) -> _Values:
    yield series(".count", Kind.CUMULATIVE, ""), float(point.count)
    yield series(".sum", Kind.CUMULATIVE), point.sum
    for at in point.quantile_values:
        yield series(f".p{at.quantile * 100:g}", Kind.GAUGE), at.value


def histogram_quantile(point: pb.HistogramDataPoint, q: float) -> float:
    """Quantile of an explicit-bucket histogram, linear inside a bucket as in Prometheus's histogram_quantile;
    the open last bucket ends at `max` where the point has it, else at its lower bound. NaN without buckets."""
    counts, bounds = list(point.bucket_counts), list(point.explicit_bounds)
    if not sum(counts) or len(counts) != len(bounds) + 1:
        return float("nan")
    cumulative = np.cumsum(counts, dtype=np.float64)
    rank = q * cumulative[-1]
    bucket = int(np.searchsorted(cumulative, rank))
    low, high = _edges(point, bounds, bucket)
    before = cumulative[bucket - 1] if bucket else 0.0
    return float(low + (high - low) * (rank - before) / counts[bucket])


def _edges(point: pb.HistogramDataPoint, bounds: list[float], bucket: int) -> tuple[float, float]:
    if not bounds:
        return point.min, point.max
    if bucket == len(bounds):
        return bounds[-1], max(point.max, bounds[-1]) if point.HasField("max") else bounds[-1]
    low = bounds[bucket - 1] if bucket else min(0.0, bounds[0])
    return (max(low, point.min) if point.HasField("min") and not bucket else low), bounds[bucket]


_READERS: dict[str, Callable[..., _Values]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _count_and_sum,
    "summary": _summary,
}


def _request_samples(request: ExportMetricsServiceRequest) -> Iterator[Sample]:
    for of_resource in request.resource_metrics:
        entity = resource_entity(of_resource.resource)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield from metric_samples(entity, metric)

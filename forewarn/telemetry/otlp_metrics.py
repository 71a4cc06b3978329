"""OTLP metrics (ExportMetricsServiceRequest, protobuf) to arrays of samples, without Python for each data point.

Series are remembered by a hash of their bytes on the wire. A message with the same series in the same order as an
earlier one, as a scrape is, gets the very same `SampleBatch.series` tuple: what is derived from it can be kept by its
`id()` as long as the tuple is held.
"""

import os
from collections.abc import Iterator

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry import otlp_walk as walk
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.histograms import HistogramState, histogram_batch
from forewarn.telemetry.otlp_attributes import bounded, clean, resource_entity
from forewarn.telemetry.otlp_reference import Sample, attributes_of, batch_of, decode_metrics_reference, metric_samples
from forewarn.telemetry.samples import Kind, SampleBatch, Series
from forewarn.telemetry.units import base_unit

_SEED = int.from_bytes(os.urandom(8), "little")
_SERIES_KEPT = 1_000_000
_SETS_OF_SERIES_KEPT = 4_000_000  # series in all remembered tuples together
_JOINS_KEPT = 20_000

Rows = NDArray[np.int64]
F64 = NDArray[np.float64]
# The series of a batch, the new index of each where two encodings mean the same series, factors to the base unit.
SeriesSet = tuple[tuple[Series, ...], NDArray[np.int32] | None, F64 | None]


def decode_metrics(payload: bytes, state: HistogramState | None = None) -> SampleBatch:
    """Samples of one message. Raises TelemetryError with the reason for bytes that cannot be read.

    Sums become counters or, where they may fall, gauges; a histogram becomes `name.count`, `name.sum` and, of what
    came since its last point, the gauges `name.mean`, `name.p50` and `name.p99`: without `state` only if it tells
    differences. The buckets of Prometheus's classic histograms become the same gauges and are no signals. A summary
    becomes its count, sum and quantiles. Values come in base units, see `base_unit`.
    Equal to `decode_metrics_reference` but for the order of samples.
    """
    rows = walk.find_metrics(payload)
    points = None if rows is None else walk.read_points(payload, rows, _SEED)
    if rows is None or points is None:
        return decode_metrics_reference(payload, state)
    histograms = walk.read_histograms(payload, rows, _SEED) if (rows[:, walk.FIELD] >= walk.HISTOGRAM).any() else None
    if histograms is None and (rows[:, walk.FIELD] >= walk.HISTOGRAM).any():
        return decode_metrics_reference(payload, state)
    state = state or HistogramState()
    try:
        batch = _number_batch(payload, rows, points)
        others = list(_summary_samples(payload, rows))
        of_histograms = _histogram_batch(payload, rows, histograms, state) if histograms else None
    except (DecodeError, UnicodeDecodeError) as error:
        raise TelemetryError(f"not an OTLP metrics message ({len(payload)} bytes): {error}") from error
    batch, classic = state.classic_gauges(batch)
    for more in (of_histograms, batch_of(others) if others else None, classic):
        batch = _joined(batch, more) if more is not None and len(more) else batch
    return batch


class _Memory:
    """Series and sets of series by their hashes. Emptied when full: what is in use comes back with the next message."""

    def __init__(self) -> None:
        self._series: dict[int, tuple[Series, float]] = {}
        self._same: dict[Series, Series] = {}
        self._sets: dict[bytes, SeriesSet] = {}
        self._in_sets = 0

    def series_set(self, payload: bytes, rows: Rows, points: walk.Points | walk.Histograms) -> SeriesSet:
        keys = points.keys.tobytes()
        found = self._sets.get(keys)
        if found is None:
            found = self._new_set(payload, rows, points)
            if self._in_sets > _SETS_OF_SERIES_KEPT:
                self._sets.clear()
                self._in_sets = 0
            self._sets[keys] = found
            self._in_sets += len(points.keys)
        return found

    def _new_set(self, payload: bytes, rows: Rows, points: walk.Points | walk.Histograms) -> SeriesSet:
        if len(self._series) > _SERIES_KEPT:
            self._series.clear()
            self._same.clear()
        known = [self._series.get(key) for key in points.keys.tolist()]
        found = [one or self._new_series(payload, rows, points, i) for i, one in enumerate(known)]
        series, scale = [one for one, _ in found], np.array([factor for _, factor in found])
        factors = scale if (scale != 1.0).any() else None
        distinct = dict.fromkeys(series)
        if len(distinct) == len(series):
            return tuple(series), None, factors
        numbers = {one: number for number, one in enumerate(distinct)}
        return tuple(distinct), np.array([numbers[one] for one in series], np.int32), factors

    def _new_series(
        self, payload: bytes, rows: Rows, points: walk.Points | walk.Histograms, i: int
    ) -> tuple[Series, float]:
        row = rows[points.metrics[i]]
        point = _POINTS[int(row[walk.FIELD])].FromString(payload[points.starts[i] : points.stops[i]])
        unit, factor = base_unit(bounded(clean(payload[row[walk.UNIT_START] : row[walk.UNIT_STOP]].decode())))
        series = Series(
            entity=_entity(payload, row),
            signal=bounded(clean(payload[row[walk.NAME_START] : row[walk.NAME_STOP]].decode())),
            attributes=attributes_of(point),
            kind=Kind(int(row[walk.KIND])),
            unit=unit,
        )
        known = self._same.setdefault(series, series), factor
        self._series[int(points.keys[i])] = known
        return known


_POINTS: dict[int, type[Message]] = {
    walk.GAUGE: pb.NumberDataPoint,
    walk.SUM: pb.NumberDataPoint,
    walk.HISTOGRAM: pb.HistogramDataPoint,
    walk.EXPONENTIAL: pb.ExponentialHistogramDataPoint,
}
_memory = _Memory()


def _number_batch(payload: bytes, rows: Rows, points: walk.Points) -> SampleBatch:
    series, renumbered, factors = _memory.series_set(payload, rows, points)
    index = points.series if renumbered is None else renumbered[points.series]
    if len(points.times) and points.times.min() <= 0:
        raise _untimed(points.times, series, index)
    values = points.values if factors is None else points.values * factors[points.series]
    return SampleBatch(series, index, points.times, values)


def _histogram_batch(payload: bytes, rows: Rows, points: walk.Histograms, state: HistogramState) -> SampleBatch:
    series, renumbered, factors = _memory.series_set(payload, rows, points)
    index = points.series if renumbered is None else renumbered[points.series]
    if len(points.times) and points.times.min() <= 0:
        raise _untimed(points.times, series, index)
    scale = None if factors is None else factors[points.series]
    return histogram_batch(series, points._replace(series=index), scale, state)


def _untimed(times: NDArray[np.int64], series: tuple[Series, ...], index: NDArray[np.int32]) -> TelemetryError:
    first = int(np.flatnonzero(times <= 0)[0])
    metric, time = series[index[first]].signal, int(times[first])
    if time == 0:
        return TelemetryError(f"a data point of metric '{metric}' has no time (time_unix_nano is 0)")
    return TelemetryError(f"a data point of metric '{metric}' has time {time + 2**64} ns, which is after the year 2262")


def _summary_samples(payload: bytes, rows: Rows) -> Iterator[Sample]:
    for row in rows[rows[:, walk.FIELD] > walk.EXPONENTIAL]:
        yield from metric_samples(
            _entity(payload, row), pb.Metric.FromString(payload[row[walk.START] : row[walk.STOP]])
        )


def _entity(payload: bytes, row: NDArray[np.int64]) -> str:
    return resource_entity(Resource.FromString(payload[row[walk.RESOURCE_START] : row[walk.RESOURCE_STOP]]))


_Join = tuple[tuple[Series, ...], tuple[Series, ...], tuple[Series, ...], NDArray[np.int32]]
_joins: dict[tuple[int, int], _Join] = {}  # by the ids of two tuples, held here


def _joined(one: SampleBatch, other: SampleBatch) -> SampleBatch:
    """Both; the same tuple of series for the same two tuples."""
    key = id(one.series), id(other.series)
    known = _joins.get(key)
    if known is None:
        if len(_joins) > _JOINS_KEPT:
            _joins.clear()
        numbers = {series: number for number, series in enumerate(one.series)}
        renumbered = np.array([numbers.setdefault(series, len(numbers)) for series in other.series], np.int32)
        known = _joins[key] = one.series, other.series, tuple(numbers), renumbered
    _, _, series, renumbered = known
    return SampleBatch(
        series,
        np.concatenate((one.index, renumbered[other.index])),
        np.concatenate((one.times, other.times)),
        np.concatenate((one.values, other.values)),
    )

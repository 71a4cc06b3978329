"""OTLP metrics become the right samples; the fast decoder and the plain one agree; damage is told, never worse."""

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from unit.telemetry.otlp_messages import damaged, requests

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.histograms import HistogramState
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_reference import decode_metrics_reference
from forewarn.telemetry.samples import Kind, SampleBatch, Series

SECOND = 10**9
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def rows(batch: SampleBatch) -> list[tuple[object, ...]]:
    """Samples in an order of their own; repr, so that NaN equals NaN and -0.0 is not 0.0."""
    assert batch.index.dtype == np.int32
    assert len(set(batch.series)) == len(batch.series)
    return sorted(
        (s.id, s.kind, s.unit, int(time), repr(float(value)))
        for s, time, value in zip((batch.series[i] for i in batch.index), batch.times, batch.values, strict=True)
    )


def request(*metrics: pb.Metric, **resource: str) -> bytes:
    made = ExportMetricsServiceRequest()
    of_resource = made.resource_metrics.add()
    for key, value in resource.items():
        attribute = of_resource.resource.attributes.add(key=key.replace("_", "."))
        attribute.value.string_value = value
    of_resource.scope_metrics.add().metrics.extend(metrics)
    return made.SerializeToString()


def decoded(metric: pb.Metric) -> dict[str, tuple[Kind, list[float]]]:
    batch = decode_metrics(request(metric, service_name="api", service_namespace="shop"))
    assert all(s.entity == "shop/api" for s in batch.series)
    return {s.name: (s.kind, batch.values[batch.index == i].tolist()) for i, s in enumerate(batch.series)}


def number(value: float, time: int = SECOND, **attributes: str) -> pb.NumberDataPoint:
    point = pb.NumberDataPoint(time_unix_nano=time, as_double=value)
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return point


@SLOW
@given(requests)
def test_the_fast_decoder_equals_the_plain_one(payload: bytes) -> None:
    assert rows(decode_metrics(payload)) == rows(decode_metrics_reference(payload))


@SLOW
@given(st.lists(requests, max_size=4))
def test_the_fast_decoder_equals_the_plain_one_over_a_stream(payloads: list[bytes]) -> None:
    fast, plain = HistogramState(), HistogramState()
    for payload in payloads:
        assert rows(decode_metrics(payload, fast)) == rows(decode_metrics_reference(payload, plain))
    assert fast.tallies == plain.tallies


@SLOW
@given(damaged())
def test_damaged_bytes_decode_or_raise_telemetry_error(payload: bytes) -> None:
    try:
        expected = rows(decode_metrics_reference(payload))
    except TelemetryError:
        with contextlib.suppress(TelemetryError):
            decode_metrics(payload)
    else:
        assert rows(decode_metrics(payload)) == expected


def test_the_compiled_walk_never_reads_beyond_its_bytes() -> None:
    """The same code without compilation, where an index beyond the end is an IndexError."""
    script = """
import warnings; warnings.simplefilter("ignore")
from hypothesis import HealthCheck, given, settings
from unit.telemetry.otlp_messages import damaged
from forewarn.telemetry.otlp_walk import find_metrics, read_histograms, read_points
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(damaged())
def walk(payload):
    found = find_metrics(payload)
    if found is not None:
        read_points(payload, found, 1)
        read_histograms(payload, found, 1)
walk()
"""
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join((tests, str(Path.cwd())))}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)


@pytest.mark.parametrize(
    ("temporality", "monotonic", "kind"),
    [(2, True, Kind.CUMULATIVE), (2, False, Kind.GAUGE), (1, True, Kind.DELTA), (1, False, Kind.DELTA)],
)
def test_sums_are_counters_or_gauges(temporality: int, monotonic: bool, kind: Kind) -> None:
    total = pb.Sum(data_points=[number(3, code="200")], aggregation_temporality=temporality, is_monotonic=monotonic)
    assert decoded(pb.Metric(name="calls", sum=total)) == {"calls{code=200}": (kind, [3.0])}


def test_no_recorded_value_is_nan() -> None:
    point = number(3)
    point.flags = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    (_, values) = decoded(pb.Metric(name="cpu", gauge=pb.Gauge(data_points=[point, number(0)])))["cpu"]
    assert math.isnan(values[0])
    assert values[1] == 0.0


def histogram(**more: float) -> pb.HistogramDataPoint:
    return pb.HistogramDataPoint(
        time_unix_nano=SECOND, count=10, sum=12.0, bucket_counts=[2, 6, 2], explicit_bounds=[1.0, 2.0], **more
    )


def test_a_delta_histogram_tells_quantiles() -> None:
    data = pb.Histogram(data_points=[histogram()], aggregation_temporality=1)
    found = decoded(pb.Metric(name="d", unit="s", histogram=data))
    assert found["d.count"] == (Kind.DELTA, [10.0])
    assert found["d.sum"] == (Kind.DELTA, [12.0])
    assert found["d.p50"] == (Kind.GAUGE, [1.5])  # 3 of the 6 in the bucket from 1 to 2


def test_a_cumulative_histogram_tells_counters_only() -> None:
    data = pb.Histogram(data_points=[histogram()], aggregation_temporality=2)
    assert decoded(pb.Metric(name="d", histogram=data)) == {
        "d.count": (Kind.CUMULATIVE, [10.0]),
        "d.sum": (Kind.CUMULATIVE, [12.0]),
    }


def test_a_summary_tells_its_quantiles() -> None:
    at = pb.SummaryDataPoint.ValueAtQuantile(quantile=0.99, value=0.7)
    point = pb.SummaryDataPoint(time_unix_nano=SECOND, count=4, sum=2.0, quantile_values=[at])
    found = decoded(pb.Metric(name="d", summary=pb.Summary(data_points=[point])))
    assert found["d.p99"] == (Kind.GAUGE, [0.7])
    assert found["d.count"] == (Kind.CUMULATIVE, [4.0])


@pytest.mark.parametrize(("time", "reason"), [(0, "has no time"), (2**63, "after the year 2262")])
def test_a_point_without_a_usable_time_is_an_error_with_its_metric(time: int, reason: str) -> None:
    metric = pb.Metric(name="cpu", gauge=pb.Gauge(data_points=[number(1), number(1, time)]))
    for decode in (decode_metrics, decode_metrics_reference):
        with pytest.raises(TelemetryError, match=f"'cpu'.*{reason}"):
            decode(request(metric))


def test_attributes_in_another_order_are_the_same_series() -> None:
    points = [number(1, a="1", b="2"), number(2, 2 * SECOND, b="2", a="1")]
    assert decoded(pb.Metric(name="cpu", gauge=pb.Gauge(data_points=points))) == {
        "cpu{a=1,b=2}": (Kind.GAUGE, [1.0, 2.0])
    }


def test_long_values_are_cut_but_stay_different() -> None:
    points = [number(1, path="x" * 1000 + "1"), number(2, path="x" * 1000 + "2")]
    found = decoded(pb.Metric(name="cpu", gauge=pb.Gauge(data_points=points)))
    assert len(found) == 2
    assert all(len(name) < 300 for name in found)


def test_the_same_series_in_the_same_order_are_the_same_tuple() -> None:
    series = [Series("shop/api", "cpu", (("core", str(i)),)) for i in range(100)]
    first, second = (
        decode_metrics(encode_metrics("shop/api", series, np.array([time]), np.ones((100, 1))))
        for time in (SECOND, 2 * SECOND)
    )
    assert first.series is second.series
    assert first.series == tuple(series)


def test_a_hundred_thousand_samples_take_no_python_each() -> None:
    series = [Series("shop/api", "cpu", (("core", str(i)),)) for i in range(100)]
    payload = encode_metrics("shop/api", series, SECOND + np.arange(1000), np.ones((100, 1000)))
    decode_metrics(payload)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        decoded = decode_metrics(payload)
    finally:
        sys.setprofile(None)
    assert len(decoded) == 100_000
    assert calls < 10_000  # calls and returns, of Python and of C

"""encode_metrics against the classes of opentelemetry-proto."""

import time

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import Kind, Series

SERIES = [
    Series("shop/api", "process.memory.usage", (), Kind.GAUGE, "By"),
    Series("shop/api", "http.server.request.count", (("method", "GET"), ("route", "/" + "ä" * 90)), Kind.CUMULATIVE),
    Series("shop/api", "retries", (), Kind.DELTA, "1"),
]
TIMES = 1_700_000_000_000_000_000 + np.arange(5, dtype=np.int64) * 60_000_000_000
VALUES = np.array([[1.5, np.nan, 3, -4, 0], [1, 2, 3, 1, 2], [np.nan] * 5])


def decoded(**arguments: object) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(encode_metrics("shop/api", SERIES, TIMES, VALUES, **arguments))


def test_round_trip_through_the_protobuf_classes() -> None:
    resource_metrics = decoded().resource_metrics[0]
    assert {a.key: a.value.string_value for a in resource_metrics.resource.attributes} == {
        "service.namespace": "shop",
        "service.name": "api",
    }
    memory, count = resource_metrics.scope_metrics[0].metrics  # the third has no value at all
    assert (memory.name, memory.unit) == ("process.memory.usage", "By")
    assert [(p.time_unix_nano, p.as_double) for p in memory.gauge.data_points] == [
        (t, v) for t, v in zip(TIMES.tolist(), VALUES[0].tolist(), strict=True) if v == v
    ]
    assert count.sum.is_monotonic
    assert count.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert {a.key: a.value.string_value for a in count.sum.data_points[4].attributes} == dict(SERIES[1].attributes)


def test_counters_tell_since_when_they_count_and_gauges_do_not() -> None:
    starts = np.array([7, 7, 7, 9, 9], dtype=np.int64)
    memory, count = decoded(starts_ns=starts).resource_metrics[0].scope_metrics[0].metrics
    assert [p.start_time_unix_nano for p in count.sum.data_points] == starts.tolist()
    assert all(p.start_time_unix_nano == 0 for p in memory.gauge.data_points)


def test_the_bytes_are_those_of_the_library() -> None:
    body = encode_metrics("shop/api", SERIES, TIMES, VALUES)
    assert ExportMetricsServiceRequest.FromString(body).SerializeToString(deterministic=True) == body


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(3, 5\), 2 series"):
        encode_metrics("shop/api", SERIES[:2], TIMES, VALUES)


def test_encodes_far_more_than_150k_samples_a_second() -> None:
    times = TIMES[0] + np.arange(360, dtype=np.int64)
    values = np.random.default_rng(1).random((3, 360))
    begin = time.perf_counter()
    for _ in range(100):
        encode_metrics("shop/api", SERIES, times, values, times)
    assert 100 * values.size / (time.perf_counter() - begin) > 150_000

"""Records without a usable time: the compiled look agrees with the protobuf library's, for whatever comes."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from forewarn.telemetry import otlp_check
from forewarn.telemetry.otlp_check import check, latest_time
from forewarn.telemetry.otlp_split import REQUESTS, Signal, parse

_GOOD, _LAST = 1_700_000_000 * 10**9, 2**63 - 1
_TIMES = st.lists(st.sampled_from([_GOOD] * 8 + [_GOOD + 1, _GOOD + 2, 0, 1, _LAST, _LAST + 1, 2**64 - 1]), max_size=5)
_DATA = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


def _metrics(times: list[int]) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    for i, time in enumerate(times):
        resource = request.resource_metrics.add(schema_url="s" * 200)
        metric = resource.scope_metrics.add().metrics.add(name="x", description="d" * 130)
        points = getattr(metric, _DATA[i % len(_DATA)]).data_points
        points.add(time_unix_nano=_GOOD)
        points.add(time_unix_nano=time, start_time_unix_nano=7)
    return request


def _logs(times: list[int]) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    for i, time in enumerate(times):
        record = request.resource_logs.add().scope_logs.add().log_records.add(severity_number=9)
        record.time_unix_nano, record.observed_time_unix_nano = (time, 0) if i % 2 else (0, time)
        record.body.string_value = "b" * 150
    return request


def _traces(times: list[int]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for time in times:
        request.resource_spans.add().scope_spans.add().spans.add(
            start_time_unix_nano=time, name="n", end_time_unix_nano=3
        )
    return request


_BUILD: dict[str, Any] = {"metrics": _metrics, "logs": _logs, "traces": _traces}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(get_args(Signal)), _TIMES, st.sampled_from([_LAST, _GOOD, _GOOD + 1]))
def test_the_compiled_look_agrees_with_the_library(signal: Signal, times: list[int], latest: int) -> None:
    payload = _BUILD[signal](times).SerializeToString()
    checked = check(signal, payload, parse(signal, payload), latest)
    expected = REQUESTS[signal].FromString(payload)
    parts = [otlp_check._CHECKS[signal](part, latest) for part in getattr(expected, otlp_check._RESOURCES[signal])]
    taken, rejected = (sum(part[k] for part in parts) for k in (0, 1))
    changed = any(part[2] for part in parts)
    assert checked.rejected == rejected == sum(not 0 < t <= latest for t in times if signal != "logs" or t)
    assert checked.empty == bool(rejected and not taken)
    assert (checked.payload == payload) == (not changed and not rejected)
    if not changed:
        assert REQUESTS[signal].FromString(checked.payload) == expected


@pytest.mark.parametrize("signal", get_args(Signal))
def test_good_requests_are_not_walked_in_python(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_check, "_CHECKS", {})
    for times in ([], [_GOOD, 1, _LAST]):
        payload = _BUILD[signal](times).SerializeToString()
        assert check(signal, payload, parse(signal, payload)).payload is payload


@pytest.mark.parametrize("signal", get_args(Signal))
def test_who_is_of_the_future_is_named_and_the_rest_stays(signal: Signal) -> None:
    latest = latest_time(600.0)
    request = _BUILD[signal]([_GOOD, latest + 10**9])
    resources = getattr(request, otlp_check._RESOURCES[signal])
    resources[1].resource.attributes.add(key="service.name").value.string_value = "clockless"
    payload = request.SerializeToString()
    checked = check(signal, payload, parse(signal, payload), latest)
    assert checked.rejected == 1 and not checked.empty
    assert "'clockless'" in checked.reason and "is the sender's clock right?" in checked.reason
    assert check(signal, payload, parse(signal, payload), latest_time(0.0)).rejected == 0

"""Valid messages that the damaged ones are made of, small and with a bit of everything."""

import json

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry.proto.loki_push_pb2 import PushRequest
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest

NOON = 1_767_614_400 * 10**9
TIMES = (0, 1, NOON, 2**63 - 1, 2**63, 2**64 - 1)  # of which the first and the last two are no times
VALUES = (0.0, -1.5, float("nan"), float("inf"), 5e-324, 1.7e308)


def resource(name: str) -> Resource:
    """A resource that names an entity."""
    pairs = {"service.namespace": "fuzz", "service.name": name, "host.name": "h"}
    return Resource(attributes=[KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in pairs.items()])


def nested(depth: int) -> AnyValue:
    """A value inside lists inside maps, `depth` deep."""
    value = AnyValue(int_value=1)
    for level in range(depth):
        if level % 2:
            value = AnyValue(array_value=ArrayValue(values=[value]))
        else:
            value = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value)]))
    return value


def metrics(times: tuple[int, ...] = (NOON,), values: tuple[float, ...] = (1.5,), depth: int = 1) -> Message:
    """Gauges, a counter, a histogram, an exponential one and a summary at every time, of two entities."""
    request = ExportMetricsServiceRequest()
    for name in ("api", "db"):
        scope = request.resource_metrics.add(resource=resource(name)).scope_metrics.add()
        gauge, total, explicit, exponential, summary = (scope.metrics.add(name=n, unit="1") for n in "gteps")
        total.sum.is_monotonic, total.sum.aggregation_temporality = True, 2
        explicit.histogram.aggregation_temporality = exponential.exponential_histogram.aggregation_temporality = 1
        labels = [KeyValue(key="zone", value=nested(depth))]
        for time in times:
            for value in values:
                gauge.gauge.data_points.add(time_unix_nano=time, as_double=value, attributes=labels)
            total.sum.data_points.add(time_unix_nano=time, as_int=7)
            explicit.histogram.data_points.add(
                time_unix_nano=time, count=3, sum=values[0], bucket_counts=[1, 2], explicit_bounds=[0.5]
            )
            exponential.exponential_histogram.data_points.add(time_unix_nano=time, count=2, scale=3)
            summary.summary.data_points.add(time_unix_nano=time, count=2).quantile_values.add(quantile=0.5, value=2)
    return request


def logs(times: tuple[int, ...] = (NOON,), depth: int = 1) -> Message:
    """A record at every time."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add(resource=resource("api")).scope_logs.add()
    for time in times:
        record = scope.log_records.add(time_unix_nano=time, severity_number=9, body=nested(depth), trace_id=b"t" * 16)
        record.attributes.add(key="thread", value=AnyValue(string_value="main\x00"))
    return request


def traces(times: tuple[int, ...] = (NOON,), depth: int = 1) -> Message:
    """A span at every time."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add(resource=resource("api")).scope_spans.add()
    for time in times:
        span = scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="GET /", kind=2, start_time_unix_nano=time)
        span.end_time_unix_nano = NOON + 5
        span.attributes.add(key="deep", value=nested(depth))
    return request


def write_request(milliseconds: tuple[int, ...] = (NOON // 10**6,), values: tuple[float, ...] = (1.5,)) -> bytes:
    """A counter and a gauge of one job."""
    request = WriteRequest()
    for name in ("requests_total", "memory_bytes"):
        labels = {"__name__": name, "job": "fuzz/rw", "instance": "10.0.0.1:80", "zone": "ü"}
        series = request.timeseries.add(labels=[Label(name=k, value=v).SerializeToString() for k, v in labels.items()])
        for time in milliseconds:
            for value in values:
                series.samples.add(timestamp=time, value=value)
    return request.SerializeToString()


def activity() -> bytes:
    """Two events."""
    first = {"service": "shop/web", "action": "checkout", "user_hash": "9f", "time": "2026-01-05T10:00:00Z", "count": 3}
    return json.dumps([first, {"service": "shop/web", "action": "view", "time": 1767614400.5}]).encode()


def log_lines() -> bytes:
    """Two records as Fluent Bit and Fluentd send them."""
    first = {"date": 1767614400.5, "log": "GET /", "level": "info", "service.name": "web", "n": {"a": [1, None]}}
    return json.dumps([first, {"time": "2026-01-05T10:00:00Z", "message": "x", "host": "h"}]).encode()


def loki_json() -> bytes:
    """A stream of two lines."""
    values = [[str(NOON), "one"], [str(NOON + 1), "two", {"trace_id": "ab"}]]
    return json.dumps({"streams": [{"stream": {"job": "api", "level": "warn"}, "values": values}]}).encode()


def loki() -> bytes:
    """The same in protobuf."""
    request = PushRequest()
    stream = request.streams.add(labels='{job="api", level="warn"}')
    stream.entries.add(line="one").timestamp.seconds = NOON // 10**9
    return request.SerializeToString()


def as_json(request: Message) -> bytes:
    """A request as OTLP's JSON; ids are hexadecimal."""
    fields = json_format.MessageToDict(request)
    for of_resource in fields.get("resourceLogs", []) + fields.get("resourceSpans", []):
        for scope in of_resource.get("scopeLogs", []) + of_resource.get("scopeSpans", []):
            for record in scope.get("logRecords", []) + scope.get("spans", []):
                for name, length in (("traceId", 32), ("spanId", 16)):
                    if name in record:
                        record[name] = "ab" * (length // 2)
    return json.dumps(fields).encode()


def deep_json(signal: str, depth: int) -> bytes:
    """An entry whose resource has a value `depth` lists deep; protobuf itself refuses to build it."""
    value: object = {"stringValue": "x"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    entry = {"resource": {"attributes": [{"key": "service.name", "value": value}]}}
    return json.dumps(
        {{"metrics": "resourceMetrics", "logs": "resourceLogs"}.get(signal, "resourceSpans"): [entry]}
    ).encode()

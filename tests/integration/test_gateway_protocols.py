"""The gateway's doors with the senders that people have: Debian's Prometheus, the OpenTelemetry SDK over gRPC."""

import contextlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cramjam
import grpc
import httpx
import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from integration.processes import answers, service, wait_until
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from servers import free_port, running_broker

from forewarn.features.windows import WindowStore
from forewarn.telemetry import topics
from forewarn.telemetry.derived import Derivation
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_traces import decode_spans
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest
from forewarn.telemetry.samples import Kind, Series

HEADERS = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
}
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
NOON_MS = 1_767_614_400_000


@dataclass
class Doors:
    """A gateway and its broker."""

    url: str
    grpc: str
    broker: str

    def read(self, topic: str, entity: str = "") -> list[tuple[str, bytes]]:
        """Keys and values of a topic, of one entity or all."""
        reader = Consumer({"bootstrap.servers": self.broker, "group.id": "test", "enable.auto.commit": False})
        reader.assign([TopicPartition(topic, p, 0) for p in range(4)])
        found = []
        while (message := reader.poll(1)) is not None:
            if not message.error():
                found.append((message.key().decode(), message.value()))
        reader.close()
        return [(key, value) for key, value in found if entity in ("", key)]

    def series(self, entity: str) -> dict[Series, list[float]]:
        """Values of the entity's series on the topic of metrics."""
        found: dict[Series, list[float]] = {}
        for key, value in self.read(topics.METRICS):
            if key == entity:
                batch = decode_metrics(value)
                for index, number in zip(batch.index, batch.values, strict=True):
                    found.setdefault(batch.series[index], []).append(float(number))
        return found


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with running_broker(free_port()) as broker:
        http, over_grpc = free_port(), free_port()
        url, away = f"http://127.0.0.1:{http}", "postgresql://nobody@127.0.0.1:1/none"
        with service(
            "forewarn.services.gateway", kafka_bootstrap=broker, gateway_port=str(http),
            gateway_grpc_port=str(over_grpc), postgres_url=away,
        ):  # fmt: skip
            wait_until(lambda: answers(f"{url}/readyz"), what="readiness of the gateway")
            yield Doors(url, f"127.0.0.1:{over_grpc}", broker)


def write_request(rows: list[tuple[dict[str, str], int, float]]) -> bytes:
    request = WriteRequest()
    for labels, milliseconds, value in rows:
        series = request.timeseries.add(
            labels=[Label(name=name, value=text).SerializeToString() for name, text in labels.items()]
        )
        series.samples.add(value=value, timestamp=milliseconds)
    return request.SerializeToString()


def post(doors: Doors, body: bytes, **headers: str) -> httpx.Response:
    packed = bytes(cramjam.snappy.compress_raw(body))
    return httpx.post(f"{doors.url}/api/v1/write", content=packed, headers={**HEADERS, **headers}, timeout=10)


def test_remote_write_becomes_series_of_entities(doors: Doors) -> None:
    api = {"job": "api", "namespace": "rw", "instance": "10.0.0.1:80"}
    db = {"job": "rw/db", "instance": "10.0.0.2:80"}
    body = write_request(
        [
            ({"__name__": "memory_bytes", **api}, NOON_MS, 5.0),
            ({"__name__": "requests_total", "code": "200", **api}, NOON_MS, 7.0),
            ({"__name__": "gone", **api}, NOON_MS, STALE),
            ({"__name__": "undefined", **api}, NOON_MS, float("nan")),
            ({"__name__": "memory_bytes", **db}, NOON_MS, 6.0),
        ]
    )
    assert post(doors, body).status_code == 204
    here = ("instance", "10.0.0.1:80")
    found = doors.series("rw/api")
    assert found[Series("rw/api", "memory_bytes", (here,))] == [5.0]
    assert found[Series("rw/api", "requests_total", (("code", "200"), here), Kind.CUMULATIVE)] == [7.0]
    assert np.isnan(found[Series("rw/api", "gone", (here,))]).all()  # stale is told, undefined is absent
    assert len(found) == 3
    assert list(doors.series("rw/db").values()) == [[6.0]]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff garbage", {}, 400),
        (write_request([({"job": "nameless"}, NOON_MS, 1.0)]), {}, 400),
        (write_request([({"__name__": "x"}, -5, 1.0)]), {}, 400),
        (b"", {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415),
        (b"", {"content-encoding": "br"}, 415),
        (bytes(20 * 2**20), {}, 413),
    ],
)
def test_what_is_no_remote_write_is_told_so(doors: Doors, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = post(doors, body, **headers)
    assert answer.status_code == status
    assert answer.text.strip()


def test_damaged_requests_are_never_a_fault_of_the_server(doors: Doors) -> None:
    rng = np.random.default_rng(7)
    whole = write_request([({"__name__": "fuzz", "job": "fuzz", "a": "b" * 20}, NOON_MS, 1.0)] * 3)
    with httpx.Client(timeout=10) as client:
        for i in range(150):
            damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            packed = bytes(cramjam.snappy.compress_raw(bytes(damaged)))
            packed = packed[: rng.integers(1, len(packed))] if i % 3 == 0 else packed
            assert client.post(f"{doors.url}/api/v1/write", content=packed, headers=HEADERS).status_code in (204, 400)
    for key, value in doors.read(topics.METRICS):
        assert decode_metrics(value) is not None, key  # what was taken can be read back


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_prometheus_writes_what_a_node_exporter_tells(doors: Doors, tmp_path: Path) -> None:
    prometheus, exporter = shutil.which("prometheus"), shutil.which("prometheus-node-exporter")
    if not prometheus or not exporter:
        pytest.skip("prometheus and prometheus-node-exporter are not installed (apt-get install)")
    node, own = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["127.0.0.1:{node}"], labels: {{namespace: dc}}}}]}}]
remote_write: [{{url: "{doors.url}/api/v1/write", queue_config: {{batch_send_deadline: 1s}}}}]
"""
    )
    flags = (f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{own}")
    with running(exporter, f"--web.listen-address=127.0.0.1:{node}"), running(prometheus, *flags):
        wait_until(lambda: doors.series("dc/node"), 20, "metrics of the node exporter")
        time.sleep(2)
    found = doors.series("dc/node")
    by_signal = {series.signal: series for series in found}
    assert by_signal["node_cpu_seconds_total"].kind is Kind.CUMULATIVE
    assert by_signal["node_memory_MemAvailable_bytes"].kind is Kind.GAUGE
    assert found[by_signal["node_memory_MemTotal_bytes"]][0] > 2**28
    assert len(found) > 200
    metrics = httpx.get(f"{doors.url}/metrics").text
    assert 'forewarn_gateway_requests_total{door="remote_write",status="204"}' in metrics
    windows, derivation = WindowStore(1.0), Derivation()
    for _, value in doors.read(topics.METRICS, "dc/node"):
        windows.put(derivation.extend(decode_metrics(value)))
    seen = windows.snapshot(windows.newest_ns // windows.step_ns + 1)
    used = {windows.series[row].signal: i for i, row in enumerate(seen.rows)}
    total, available = (found[by_signal[f"node_memory_{name}_bytes"]] for name in ("MemTotal", "MemAvailable"))
    assert seen.limits[used["node_memory_used_bytes"]] == total[0]
    assert seen.values[used["node_memory_used_bytes"]] == pytest.approx(total[0] - available[-1], rel=0.2)
    disk = used["node_filesystem_used_bytes"]  # there is at least one: what is free is told, what is used is predicted
    assert 0 <= seen.values[disk] <= seen.limits[disk]


def test_the_sdk_exports_over_grpc(doors: Doors) -> None:
    resource = Resource.create({"service.namespace": "sdk", "service.name": "worker"})
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(doors.grpc, insecure=True), 60_000)
    meters = MeterProvider([reader], resource=resource)
    meters.get_meter("test").create_counter("jobs").add(3, {"queue": "mail"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(doors.grpc, insecure=True)))
    with traces.get_tracer("test").start_as_current_span("work"):
        pass
    assert meters.force_flush(10_000)
    meters.shutdown()
    traces.shutdown()
    jobs = Series("sdk/worker", "jobs", (("queue", "mail"),), Kind.CUMULATIVE)
    assert doors.series("sdk/worker")[jobs][0] == 3.0
    spans = [span for key, value in doors.read(topics.SPANS) if key == "sdk/worker" for span in decode_spans(value)]
    assert [span.entity for span in spans] == ["sdk/worker"]


def test_grpc_tells_its_services_its_health_and_what_is_wrong(doors: Doors) -> None:
    with grpc.insecure_channel(doors.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        names = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert "opentelemetry.proto.collector.metrics.v1.MetricsService" in names
        for signal in ("metrics.v1.Metrics", "logs.v1.Logs", "trace.v1.Trace"):
            export = channel.unary_unary(f"/opentelemetry.proto.collector.{signal}Service/Export")
            assert export(b"", timeout=5) == b""
            with pytest.raises(grpc.RpcError) as refused:
                export(b"\xff\xff garbage", timeout=5)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "protobuf" in refused.value.details()

"""From POST to PostgreSQL with a real broker: what is accepted is archived, once; what is garbage is told so."""

import contextlib
import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from google.rpc.status_pb2 import Status
from integration.processes import answers, service, wait_until
from servers import free_port, running_broker

from forewarn.config.settings import Settings
from forewarn.services.archiver.service import Archiver
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics, encode_spans
from forewarn.telemetry.samples import Kind, Series

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
NOON = 1_767_614_400 * 10**9  # 2026-01-05 12:00 UTC


@dataclass
class Doors:
    """A gateway and its broker."""

    url: str
    broker: str

    def post(self, door: str, body: bytes, headers: dict[str, str] = PROTOBUF) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/{door}", content=body, headers=headers, timeout=15)


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with running_broker(free_port()) as address, gateway(address) as url:
        yield Doors(url, address)


@contextlib.contextmanager
def gateway(broker: str, **settings: str) -> Iterator[str]:
    """URL of a gateway process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    away = "postgresql://nobody@127.0.0.1:1/none"  # the gateway needs no database
    with service(
        "forewarn.services.gateway", kafka_bootstrap=broker, gateway_port=str(port), postgres_url=away, **settings
    ):
        wait_until(lambda: answers(f"{url}/readyz"), what="readiness of the gateway")
        yield url


def metrics(entity: str, series: int = 10, points: int = 20, first: int = 0) -> bytes:
    """A request with series × points samples a second apart."""
    many = [Series(entity, "cpu", (("core", str(i)),), Kind.GAUGE, "1") for i in range(series)]
    times = NOON + np.arange(first, first + points, dtype=np.int64) * 10**9
    return encode_metrics(entity, many, times, np.random.default_rng(first).random((series, points)))


def spans() -> bytes:
    """A call of shop/web that shop/api serves with an error: two requests joined are one of two resources."""
    trace, web, api = b"t" * 16, b"webspan1", b"apispan1"
    client = encode_spans("shop/web", [trace], [web], [b""], ["GET /"], ["client"], [NOON], [NOON + 10**9], [False])
    server = encode_spans("shop/api", [trace], [api], [web], ["GET /"], ["server"], [NOON], [NOON + 10**8], [True])
    return client + server


def count(postgres_url: str, table: str) -> int:
    with psycopg.connect(postgres_url) as connection:
        return connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608


def dead_letters(broker: str) -> list[tuple[dict[str, bytes], bytes]]:
    """Headers and values of what is on dead_letters."""
    reader = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    reader.assign([TopicPartition(topics.DEAD_LETTERS, p, 0) for p in range(4)])
    found = []
    while (message := reader.poll(1)) is not None:
        found.append((dict(message.headers()), message.value()))
    reader.close()
    return found


def test_what_is_posted_is_archived(postgres_url: str) -> None:
    with (
        running_broker(free_port()) as broker,
        gateway(broker) as url,
        service("forewarn.services.archiver", kafka_bootstrap=broker, postgres_url=postgres_url),
    ):
        to = Doors(url, broker)
        both = metrics("shop/api") + metrics("shop/db", series=5)
        assert to.post("metrics", both).status_code == 200
        assert (
            to.post("metrics", gzip.compress(metrics("shop/web")), {**PROTOBUF, "content-encoding": "gzip"}).content
            == b""
        )
        log = encode_logs("shop/api", [NOON, NOON + 1], ["INFO", "ERROR"], ["up", "nul \x00 here"])
        assert to.post("logs", log).status_code == 200
        assert to.post("traces", spans()).status_code == 200
        events = (
            b'[{"service":"a/web","action":"buy","count":3},{"service":"a/web","action":"look","time":1767614400.5}]'
        )
        assert to.post("activity", events, JSON).status_code == 200
        expected = {"metric_samples": 500, "log_records": 2, "spans": 2, "activity_events": 2, "service_edges": 1}
        wait_until(lambda: {t: count(postgres_url, t) for t in expected} == expected, what="the archive")
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("select client, server, calls, errors from service_edges").fetchall() == [
                ("shop/web", "shop/api", 1, 1)
            ]
            assert connection.execute("select count(*) from metric_series").fetchone() == (25,)
            wait_until(
                lambda: (connection.execute(
                    "select counters->>'samples_total' from service_status where service = 'archiver'"
                ).fetchone() or ("",))[0] == "500",
                what="the heartbeat",
            )  # fmt: skip


def test_messages_that_cannot_be_read_or_stored_go_to_dead_letters(own_broker: str, postgres_url: str) -> None:
    create_topics(own_broker, 4)
    to = producer(own_broker)
    huge = Series("shop/api", "cpu", tuple((f"k{i:03}", os.urandom(100).hex()) for i in range(60)))
    too_long = encode_metrics("shop/api", [huge], np.array([NOON]), np.ones((1, 1)))  # beyond an index row
    for value in (b"garbage", metrics("shop/api"), metrics("shop/api")[:-3], too_long, metrics("shop/api", first=20)):
        to.produce(topics.METRICS, value, "shop/api")
    to.produce(topics.ACTIVITY, b'{"service": 3}', "x")
    assert to.flush(10) == 0
    with archiver_thread(own_broker, postgres_url) as counters:
        wait_until(lambda: count(postgres_url, "metric_samples") == 400, what="the readable samples")
        wait_until(lambda: counters["messages_total"] == 6, what="the rest")
    assert counters["dead_letters_total"] == 4
    letters = dead_letters(own_broker)
    assert {b"garbage", too_long, b'{"service": 3}'} <= {value for _, value in letters}
    by_value = {value: headers for headers, value in letters}
    assert by_value[b"garbage"]["topic"] == b"otlp_metrics"
    assert b"not an OTLP metrics message" in by_value[b"garbage"]["reason"]
    assert b"PostgreSQL refuses it" in by_value[too_long]["reason"]


@contextlib.contextmanager
def archiver_thread(broker: str, postgres_url: str) -> Iterator[dict[str, float]]:
    """Counters of an archiver in this process: it starts faster than one of its own."""
    stop, counters = threading.Event(), {}
    settings = Settings(kafka_bootstrap=broker, postgres_url=postgres_url, _env_file=None)
    thread = threading.Thread(target=Archiver(settings, stop, counters).run)
    thread.start()
    try:
        yield counters
    finally:
        stop.set()
        thread.join(20)


def test_while_postgres_is_away_nothing_is_lost(own_broker: str, postgres_server: str, postgres_url: str) -> None:
    create_topics(own_broker, 4)
    to = producer(own_broker)
    with (
        psycopg.connect(postgres_server, autocommit=True) as admin,
        archiver_thread(own_broker, postgres_url) as counters,
    ):
        database = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
        to.produce(topics.METRICS, metrics("shop/api"), "shop/api")
        wait_until(lambda: counters["samples_total"] == 200, what="the first samples")
        refuse = f'alter database "{database}" allow_connections {{}}'
        admin.execute(refuse.format("false").encode())
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'archiver'")
        for i in range(1, 20):
            to.produce(topics.METRICS, metrics(f"shop/api-{i}", first=i * 20), f"shop/api-{i}")
        assert to.flush(10) == 0
        time.sleep(2)
        assert counters["samples_total"] == 200
        admin.execute(refuse.format("true").encode())
        wait_until(lambda: counters["samples_total"] == 4000, what="the samples of the time in between")
    assert count(postgres_url, "metric_samples") == 4000


def test_an_archiver_that_is_killed_loses_and_doubles_nothing(own_broker: str, postgres_url: str) -> None:
    create_topics(own_broker, 4)
    to = producer(own_broker)
    environment = {"kafka_bootstrap": own_broker, "postgres_url": postgres_url}
    sent = 0

    def produce(messages: int) -> None:
        nonlocal sent
        for i in range(sent, sent + messages):
            entity = f"shop/api-{i % 7}"
            to.produce(topics.METRICS, metrics(entity, series=50, points=10, first=i * 10), entity)
        assert to.flush(20) == 0
        sent += messages

    produce(400)
    with service("forewarn.services.archiver", **environment) as first:
        deadline = time.monotonic() + 90
        # Killed as soon as something was stored, with later messages in memory.
        while not count(postgres_url, "metric_samples") and time.monotonic() < deadline:
            produce(5)
            time.sleep(0.05)
        produce(5)
        first.kill()
        first.wait()
    stored = count(postgres_url, "metric_samples")
    produce(50)
    assert 0 < stored < sent * 500
    with service("forewarn.services.archiver", **environment):
        wait_until(lambda: count(postgres_url, "metric_samples") >= sent * 500, 90, "the rest")
        time.sleep(1)
    assert count(postgres_url, "metric_samples") == sent * 500


@pytest.mark.parametrize(
    ("door", "body", "headers", "status", "reason"),
    [
        ("metrics", b"garbage", PROTOBUF, 400, "not an OTLP metrics request in protobuf"),
        ("metrics", metrics("shop/api")[:-1], PROTOBUF, 400, "not an OTLP metrics request"),
        ("logs", b"[" * 100_000, JSON, 400, "not an OTLP logs request in JSON"),
        ("traces", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}', JSON, 400, "hexadecimal"),
        ("metrics", b'{"resourceMetrics": 3}', JSON, 400, "resourceMetrics"),
        ("metrics", b"{}", {"content-type": "text/plain"}, 415, "Content-Type"),
        ("metrics", b"{}", {**JSON, "content-encoding": "br"}, 415, "Content-Encoding 'br'"),
        ("metrics", b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400, "damaged"),
        ("metrics", b"not zstd", {**PROTOBUF, "content-encoding": "zstd"}, 400, "damaged"),
        ("metrics", gzip.compress(bytes(20_000_000)), {**PROTOBUF, "content-encoding": "gzip"}, 413, "larger than"),
        ("metrics", bytes(17 * 2**20), PROTOBUF, 413, "larger than"),
        ("activity", b'{"service": "shop"}', JSON, 400, "action"),
        ("activity", b'{"service": "shop", "action": "a"}', PROTOBUF, 415, "Content-Type"),
    ],
)
def test_garbage_is_refused_with_the_reason(
    doors: Doors, door: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = doors.post(door, body, headers)
    assert answer.status_code == status
    if answer.headers["content-type"].startswith("application/x-protobuf"):
        assert reason in Status.FromString(answer.content).message
    else:
        assert reason in answer.json()["message"]


def test_otlp_in_json_is_taken_and_answered_in_json(doors: Doors) -> None:
    body = b"""{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]},
      "scopeLogs": [{"logRecords": [{"timeUnixNano": "1767614400000000000", "body": {"stringValue": "hello"},
      "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}]}]}]}"""
    answer = doors.post("logs", body, {"content-type": "application/json; charset=utf-8"})
    assert (answer.status_code, answer.json()) == (200, {})


def test_a_request_has_one_id_in_its_answer_and_on_the_log(doors: Doors) -> None:
    sender = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    told = doors.post("metrics", metrics("traced/api"), PROTOBUF | sender).headers["X-Request-Id"]
    assert told == "0af7651916cd43dd8448eb211c80319c"
    assert doors.post("metrics", b"garbage", PROTOBUF | sender).headers["X-Request-Id"] == told
    assert len(doors.post("metrics", metrics("traced/db")).headers["X-Request-Id"]) == len(told), "one of its own"
    reader = Consumer({"bootstrap.servers": doors.broker, "group.id": "traced", "enable.auto.commit": False})
    reader.assign([TopicPartition(topics.METRICS, p, 0) for p in range(4)])
    found: list[str] = []

    def read() -> bool:
        message = reader.poll(0.5)
        if message is not None and message.key() == b"traced/api":
            found.extend(value.decode()[3:35] for name, value in message.headers() if name == "traceparent")
        return bool(found)

    wait_until(read, seconds=20, what="the message on the log")
    reader.close()
    assert found == [told]


def test_a_large_batch_of_one_entity_is_cut_for_the_broker(doors: Doors) -> None:
    body = metrics("shop/large", series=60, points=1500)
    assert len(body) > 2_000_000
    assert doors.post("metrics", body).status_code == 200


def test_the_gateway_counts(doors: Doors) -> None:
    doors.post("metrics", metrics("shop/api"))
    assert 'forewarn_gateway_requests_total{door="metrics",status="200"}' in httpx.get(f"{doors.url}/metrics").text


def test_a_token_is_asked_for(own_broker: str) -> None:
    with gateway(own_broker, gateway_token="s3cret") as url:
        to = Doors(url, own_broker)
        assert to.post("metrics", metrics("a")).status_code == 401
        assert to.post("metrics", metrics("a"), {**PROTOBUF, "authorization": "Bearer wrong"}).status_code == 401
        assert to.post("metrics", metrics("a"), {**PROTOBUF, "authorization": "Bearer s3cret"}).status_code == 200


def test_an_open_address_without_a_token_is_refused() -> None:
    environment = {**os.environ, "FOREWARN_BIND_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "forewarn.services.gateway"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "FOREWARN_GATEWAY_TOKEN" in ended.stderr


def test_a_broker_that_is_away_gives_503_and_comes_back() -> None:
    port = free_port()
    with contextlib.ExitStack() as first:
        broker = first.enter_context(running_broker(port))
        with gateway(broker) as url:
            to = Doors(url, broker)
            assert to.post("metrics", metrics("a")).status_code == 200
            first.close()
            started = time.monotonic()
            answer = to.post("metrics", metrics("a"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert time.monotonic() - started < 7
            assert httpx.get(f"{url}/readyz").status_code == 503
            with running_broker(port):  # it has forgotten topics and producer
                wait_until(lambda: to.post("metrics", metrics("a")).status_code == 200, what="recovery")


def test_the_opentelemetry_sdk_can_export(doors: Doors) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: F401  its import proves that the exporter fits
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

    assert OTLPLogExporter(endpoint=f"{doors.url}/v1/logs").export([]) is not None
    resource = Resource.create({"service.name": "sdk", "service.namespace": "test"})
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=f"{doors.url}/v1/metrics", compression=Compression.Gzip), 60_000
    )
    meters = MeterProvider([reader], resource)
    meters.get_meter("t").create_histogram("latency").record(0.2)
    meters.get_meter("t").create_counter("calls").add(3)
    assert reader.force_flush(5000)
    meters.shutdown()

    class Kept(OTLPSpanExporter):
        results: list[SpanExportResult] = []

        def export(self, spans):  # type: ignore[no-untyped-def]
            self.results.append(super().export(spans))
            return self.results[-1]

    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(SimpleSpanProcessor(Kept(endpoint=f"{doors.url}/v1/traces")))
    with tracers.get_tracer("t").start_as_current_span("work"):
        pass
    assert Kept.results == [SpanExportResult.SUCCESS]

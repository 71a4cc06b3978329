"""A recording on its way: pieces in order of time, a gateway that is busy at first, the pace, the command."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from forewarn.cli.failure import CommandError
from forewarn.cli.simulate import simulate as simulate_command
from forewarn.simulation.logs import write_logs
from forewarn.simulation.recording import NANOSECONDS, Recording
from forewarn.simulation.scenarios import VARIANTS, Injection
from forewarn.simulation.sender import Sent, live_chunk_seconds, pieces, send
from forewarn.simulation.simulate import simulate
from forewarn.simulation.topology import CALLS
from forewarn.telemetry.samples import entity_of
from forewarn.telemetry.sender import OtlpSender

START = datetime(2026, 11, 18, 8, tzinfo=UTC)


class Gateway(ThreadingHTTPServer):
    """Keeps what it gets; says 503 to the first `busy` requests."""

    def __init__(self, busy: int = 0) -> None:
        self.busy, self.bodies, self.tokens = busy, [], set()  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        gateway = self.server
        assert isinstance(gateway, Gateway)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gateway.tokens.add(self.headers.get("Authorization"))
        gateway.busy -= 1
        if gateway.busy < 0:
            gateway.bodies.append((self.path, body))
        self.send_response(503 if gateway.busy >= 0 else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def morning() -> Recording:
    """Six hours with a pool that is exhausted at their end."""
    return simulate(START, 6, 60, 3, [Injection(VARIANTS["pool-exhaustion"][0], 3600, 3 * 3600)])


def samples_of(body: bytes) -> dict[tuple[str, str], list[tuple[int, float]]]:
    out: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        entity = entity_of({a.key: a.value.string_value for a in resource.resource.attributes})
        for metric in resource.scope_metrics[0].metrics:
            points = metric.gauge.data_points or metric.sum.data_points
            out[entity, metric.name] = [(p.time_unix_nano, p.as_double) for p in points]
    return out


def test_everything_arrives_once_in_order_though_the_gateway_was_busy(gateway: Gateway, morning: Recording) -> None:
    gateway.busy = 3
    with OtlpSender(gateway.url, "secret") as sender:
        sent = send(morning, sender, speed=None, chunk_seconds=1800, trace_seconds=300)
        assert sender.retries == 3
    assert gateway.tokens == {"Bearer secret"}
    assert sent.messages == len(gateway.bodies)
    got: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for path, body in gateway.bodies:
        for key, points in samples_of(body).items() if path == "/v1/metrics" else ():
            got.setdefault(key, []).extend(points)
    assert sum(len(points) for points in got.values()) == sent.samples
    for entity in morning.entities:
        for series, values in zip(entity.series, entity.values, strict=True):
            there = ~np.isnan(values)
            expected = list(zip(morning.times_ns[there].tolist(), values[there].tolist(), strict=True))
            assert got[entity.entity, series.signal] == expected


def test_a_part_of_it_can_be_sent_and_the_rest_later(morning: Recording) -> None:
    middle = int(morning.times_ns[100])
    whole = sum(piece.samples for piece in pieces(morning, 3600, 600))
    first = sum(piece.samples for piece in pieces(morning, 3600, 600, end_ns=middle))
    rest = sum(piece.samples for piece in pieces(morning, 3600, 600, begin_ns=middle))
    assert first + rest == whole and first > 0 and rest > 0


def test_spans_tell_who_calls_whom(morning: Recording) -> None:
    owner: dict[bytes, str] = {}
    parents: list[tuple[str, bytes]] = []
    for piece in pieces(morning, 3600, 300):
        for body in piece.spans:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
                for span in resource.scope_spans[0].spans:
                    assert span.end_time_unix_nano >= span.start_time_unix_nano
                    owner[span.span_id] = service
                    parents.append((service, span.parent_span_id))
    calls = {(owner[parent], service) for service, parent in parents if parent and owner[parent] != service}
    assert calls == set(CALLS)


def test_logs_tell_of_deploys_and_of_what_goes_wrong(morning: Recording) -> None:
    api = next(table for table in write_logs(morning) if table.entity == "shop/api")
    failed = morning.outcomes[0].failed_at
    assert failed is not None
    waiting = [t for t, body in zip(api.times_ns, api.bodies, strict=True) if "waiting for a connection" in body]
    assert waiting and min(waiting) >= (failed.timestamp() - 60) * NANOSECONDS
    assert np.all(np.diff(api.times_ns) >= 0)
    restarts = [a for a in api.attributes if a.get("event.name") == "restart"]
    assert len(restarts) == sum(h.kind == "restart" and h.service == "api" for h in morning.happenings)
    records = [
        record
        for piece in pieces(morning, 3600, 600)
        for body in piece.logs
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for record in resource.scope_logs[0].log_records
    ]
    assert len(records) == sum(len(table.times_ns) for table in write_logs(morning))


def test_live_keeps_its_pace_and_stops_when_told(gateway: Gateway, morning: Recording) -> None:
    seen: list[Sent] = []
    stop = threading.Event()

    def on_sent(sent: Sent) -> None:
        seen.append(sent)
        if len(seen) == 11:
            stop.set()

    begin = time.monotonic()
    with OtlpSender(gateway.url) as sender:
        send(
            morning, sender, speed=1200, chunk_seconds=60, trace_seconds=60, on_sent=on_sent, stop=stop
        )  # a step each 50 ms
    assert time.monotonic() - begin > 0.45
    assert len(seen) == 11
    assert [sent.event_time for sent in seen] == sorted(sent.event_time for sent in seen)


def test_fast_streams_send_several_steps_at_once() -> None:
    assert live_chunk_seconds(120, 60) == 60
    assert live_chunk_seconds(1200, 60) == 300
    assert live_chunk_seconds(None, 60) == 600


def test_encoding_and_cutting_is_faster_than_150k_samples_a_second(two_weeks: Recording) -> None:
    begin = time.process_time()
    samples = sum(piece.samples for piece in pieces(two_weeks, 6 * 3600, 600))
    assert samples > 1_500_000
    assert samples / (time.process_time() - begin) > 150_000


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "forewarn.cli.app", "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_command_sends_history_and_live_day_and_says_what_happened(gateway: Gateway) -> None:
    process = command(
        *(
            "--scenario",
            "memory-leak",
            "--speed",
            "max",
            "--history-days",
            "1",
            "--hours",
            "14",
            "--gateway",
            gateway.url,
        )
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "memory leak" in out and "process.memory.usage reached its limit" in out and "repaired at" in out
    assert len(gateway.bodies) > 50
    latest = max(
        t for path, body in gateway.bodies if path == "/v1/metrics" for p in samples_of(body).values() for t, _ in p
    )
    assert latest <= time.time_ns() and time.time_ns() - latest < 300 * NANOSECONDS


def test_command_stops_cleanly_on_ctrl_c(gateway: Gateway) -> None:
    process = command("--speed", "120", "--history-days", "0", "--gateway", gateway.url)
    deadline = time.monotonic() + 30
    while len(gateway.bodies) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130, out
    assert "Stopped: " in out and "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"gateway": "http://127.0.0.1:1"}, "no gateway at http://127.0.0.1:1: start one with `forewarn up`"),
        ({"scenario": "gremlins"}, "there is no scenario 'gremlins'; choose one of memory-leak"),
        ({"speed": "fast"}, "neither a number above 0 nor 'max'"),
        ({"gateway": "localhost:4318"}, "give an address such as"),
    ],
)
def test_command_says_what_is_wrong(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(CommandError, match=re.escape(says)):
        simulate_command(**{"gateway": "", "token": "", "home": None, "list_": False, "end": None, **arguments})

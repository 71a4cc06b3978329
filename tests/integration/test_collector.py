"""The collector as a process: what it sends is true, it outlives what it depends on, and it stops at once."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from otlp_capture import OtlpCapture, capture_otlp
from servers import free_port

from forewarn.services.heartbeat import Heartbeat
from forewarn.telemetry.samples import Kind, Series

HOST = socket.gethostname()
LAG = (("messaging.consumer.group.name", "archiver"),)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts collectors, and ends them with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(gateway_port: int, postgres_url: str = "postgresql://nobody@127.0.0.1:1/none") -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "FOREWARN_HOME": str(tmp_path / "home"),
            "FOREWARN_GATEWAY_PORT": str(gateway_port),
            "FOREWARN_GATEWAY_TOKEN": "secret",
            "FOREWARN_POSTGRES_URL": postgres_url,
            "FOREWARN_COLLECTOR_INTERVAL_SECONDS": "0.5",
            "HTTP_PROXY": "http://127.0.0.1:1",  # what goes to this host must not go there
        }
        command = [sys.executable, "-m", "forewarn.services.collector"]
        with (tmp_path / "log").open("ab") as log:
            started.append(subprocess.Popen(command, env=environment, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def port_of(capture: OtlpCapture) -> int:
    return int(capture.url.rpartition(":")[2])


def wait_for(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def last(capture: OtlpCapture) -> dict[Series, float]:
    """The newest value of each series."""
    return {series: by_time[max(by_time)] for series, by_time in capture.samples().items()}


def test_what_it_says_of_itself_and_of_this_host_is_true(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    with capture_otlp() as capture:
        process = start(port_of(capture))
        wait_for(lambda: len(capture.requests) >= 4)
        seen = psutil.Process(process.pid)
        resident, threads = seen.memory_info().rss, seen.num_threads()
        found = last(capture)
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0
    assert capture.requests[0][1]["Authorization"] == "Bearer secret"
    assert all(len(times) >= 3 for times in capture.samples().values())

    def of_collector(signal_: str, unit: str) -> float:
        return found[Series("local/collector", signal_, unit=unit)]

    assert of_collector("process.memory.usage", "By") == pytest.approx(resident, rel=0.2)
    assert of_collector("process.thread.count", "{thread}") == pytest.approx(threads, abs=2)
    assert of_collector("process.unix.file_descriptor.count", "{file_descriptor}") >= 4
    assert of_collector("process.unix.file_descriptor.count.limit", "{file_descriptor}") >= 256
    assert 0 <= of_collector("process.cpu.utilization", "1") < 0.5
    assert 0 < of_collector("process.uptime", "s") < 60

    host = f"local/{HOST}"
    total = psutil.virtual_memory().total
    assert found[Series(host, "system.memory.usage.limit", unit="By")] == total
    assert found[Series(host, "system.memory.usage", unit="By")] < total
    root = (("system.filesystem.mountpoint", "/"),)
    disk = psutil.disk_usage("/")
    assert found[Series(host, "system.filesystem.usage", root, unit="By")] == pytest.approx(disk.used, rel=0.05)
    limit = found[Series(host, "system.filesystem.usage.limit", root, unit="By")]
    assert limit == pytest.approx(disk.used + disk.free, rel=0.05)
    received = Series(host, "system.network.io", (("network.io.direction", "receive"),), Kind.CUMULATIVE, "By")
    assert received in found


def test_postgresql_and_the_lag_that_services_tell(
    start: Callable[..., subprocess.Popen[bytes]], postgres_url: str
) -> None:
    with capture_otlp() as capture, Heartbeat(postgres_url, "archiver", HOST) as archiver:
        archiver.counters = {"lag_messages": 41.0}
        start(port_of(capture), postgres_url)
        wait_for(lambda: Series("local/archiver", "messaging.consumer.lag", LAG, unit="{message}") in last(capture))
        found = last(capture)
        with psycopg.connect(postgres_url) as connection:
            wait_for(lambda: _heartbeat_of_collector(connection) > 0)
    assert found[Series("local/archiver", "messaging.consumer.lag", LAG, unit="{message}")] == 41
    assert found[Series("local/archiver", "process.memory.usage", unit="By")] > 1e7  # the pid was told by the heartbeat
    assert 1 <= found[Series("local/postgresql", "postgresql.backends", unit="{connection}")] < 50
    assert found[Series("local/postgresql", "postgresql.connection.max", unit="{connection}")] >= 20
    assert found[Series("local/postgresql", "postgresql.db_size", unit="By")] > 1e6


def _heartbeat_of_collector(connection: psycopg.Connection) -> float:
    row = connection.execute("select counters->>'samples_total' from service_status where service = 'collector'")
    connection.commit()
    found = row.fetchone()
    return float(found[0]) if found and found[0] else 0.0


def test_it_waits_for_a_gateway_that_comes_later_and_stops_while_it_waits(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port = free_port()
    process = start(port)
    wait_for(lambda: b"does not take telemetry" in (tmp_path / "log").read_bytes(), 20)
    with capture_otlp(port) as capture:
        wait_for(lambda: len(capture.requests) >= 2, 20)
    wait_for(lambda: (tmp_path / "log").read_bytes().count(b"does not take telemetry") == 2, 20)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert time.monotonic() - began < 3
    assert b"Traceback" not in (tmp_path / "log").read_bytes()

"""Requests and samples a second that one gateway process takes; each is answered when the broker has it."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import cramjam
import numpy as np
import psutil

from benchmarks.report import Result
from benchmarks.streaming.broker import free_port, running_broker
from benchmarks.streaming.fleet import START_NS, Fleet, Template, entity_series
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest

SECONDS, CONNECTIONS = 6.0, 16
_PER_ENTITY = 50


def measure(seconds: float = SECONDS) -> list[Result]:
    """Both doors with small and with large requests."""
    port = free_port()
    bodies = {
        "OTLP, 1 entity": (_otlp(1), _PER_ENTITY),
        "OTLP, 20 entities": (_otlp(20), 20 * _PER_ENTITY),
        "remote write, 500 series": (_remote_write(port, 10), 500),
        "remote write, 2,000 series": (_remote_write(port, 40), 2000),
    }
    results = []
    with running_gateway(port):
        for name, (request, samples) in bodies.items():
            asyncio.run(_load(port, request, 0.5))
            rate, p99 = asyncio.run(_load(port, request, seconds))
            note = f"{samples} samples a request, {CONNECTIONS} connections, client on the same cores"
            slow = {"p99 ms": p99 * 1e3}
            results.append(Result(f"gateway, {name}", rate, "requests/s", note=note, baselines=slow))
            results.append(Result(f"gateway, {name}, samples", rate * samples, "samples/s"))
    return results


def cpu_seconds_per_million(entities: int = 20, seconds: float = SECONDS) -> float:
    """Processor time of the gateway for a million samples of OTLP, requests of `entities` together."""
    port, request = free_port(), _otlp(entities)
    with running_gateway(port) as process:
        asyncio.run(_load(port, request, 0.5))
        before = process.cpu_times()
        rate, _ = asyncio.run(_load(port, request, seconds))
        after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return float(spent / (rate * seconds * entities * _PER_ENTITY / 1e6))


@contextlib.contextmanager
def running_gateway(port: int) -> Iterator[psutil.Process]:
    """A gateway on this port with a broker of its own."""
    with running_broker() as address:
        environment = {
            **os.environ, "FOREWARN_KAFKA_BOOTSTRAP": address, "FOREWARN_GATEWAY_PORT": str(port),
            "FOREWARN_GATEWAY_GRPC_PORT": "0", "FOREWARN_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none",
        }  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "forewarn.services.gateway"], env=environment)
        try:
            _await_ready(port)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(15)


def _otlp(entities: int) -> bytes:
    rng, times = np.random.default_rng(5), np.array([START_NS])
    fleet = Fleet(entities)
    body = b"".join(Template(n).messages(times[None], fleet.values(rng, times)[None])[0] for n in fleet.names)
    return _request("/v1/metrics", body, "content-type: application/x-protobuf")


def _remote_write(port: int, entities: int) -> bytes:
    request = WriteRequest()
    for name in Fleet(entities).names:
        for one in entity_series(name):
            labels = {"__name__": one.signal.replace(".", "_"), "job": name, **dict(one.attributes)}
            labels |= {"instance": "10.0.0.1:9100", "cluster": "eu-1", "environment": "production"}
            raw = [Label(name=k, value=v).SerializeToString() for k, v in sorted(labels.items())]
            request.timeseries.add(labels=raw).samples.add(value=1.5, timestamp=START_NS // 10**6)
    body = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
    return _request("/api/v1/write", body, "content-type: application/x-protobuf\r\ncontent-encoding: snappy")


def _request(path: str, body: bytes, headers: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _await_ready(port: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


async def _load(port: int, request: bytes, seconds: float) -> tuple[float, float]:
    """Requests a second, and the 99 % quantile of their seconds."""
    began = time.perf_counter()
    waits: list[float] = []
    await asyncio.gather(*(_sender(port, request, began + seconds, waits) for _ in range(CONNECTIONS)))
    return len(waits) / (time.perf_counter() - began), float(np.quantile(waits, 0.99))


async def _sender(port: int, request: bytes, until: float, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (sent := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
            raise RuntimeError(head.decode(errors="replace").splitlines()[0])
        length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        waits.append(time.perf_counter() - sent)
    writer.close()

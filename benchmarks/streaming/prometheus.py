"""Side by side on the same 100,000 series: Prometheus's predict_linear and our time to the limit over all of them."""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cramjam
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Result, at_least
from benchmarks.streaming.broker import free_port
from forewarn.features.definitions import INDEX
from forewarn.features.linear import linear_steps_to_limit
from forewarn.features.windows import WindowStore
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import score
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest
from forewarn.telemetry.samples import SampleBatch, Series

ENTITIES, PER_ENTITY, CELLS, RUNS = 2000, 50, 58, 3
LIMIT = 100.0
GOAL = 20.0


def measure(entities: int = ENTITIES) -> list[Result]:
    """An hour at 60 s of a growing signal; both are asked at its end."""
    count = entities * PER_ENTITY
    command = shutil.which("prometheus")
    if command is None:
        return [Result("predict_linear beside us", None, "×", note="skipped: prometheus is not installed (apt-get)")]
    now = int(time.time()) // 60 * 60 - 60
    seconds = now + np.arange(-CELLS + 1, 1, dtype=np.int64) * 60
    rng = np.random.default_rng(6)
    values = rng.uniform(20, 50, (count, 1)) + rng.uniform(0.05, 0.4, (count, 1)) * np.arange(CELLS)
    theirs, slopes = _prometheus(command, seconds, values)
    line, ours, features = _ours(entities, seconds, values)
    difference = float(np.abs(features[:, INDEX["slope_1h"]] * LIMIT - slopes).max())
    note = f"{count:,} series × {CELLS} samples; median of {RUNS}; slopes differ by at most {difference:.1g} an hour"
    counted = theirs["predict_linear, counted in the server"]
    baselines = {f"Prometheus, {name}, s": value for name, value in theirs.items()}
    return [
        Result("time to limit of all by a line", line, "s", baselines=baselines, note=note),
        at_least("faster than predict_linear, like for like", counted / line, "×", GOAL),
        Result("time to limit of all, every feature and score", ours, "s"),
        Result("faster than predict_linear with every feature and score", counted / ours, "×"),
    ]


def _ours(
    entities: int, seconds: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    store, times = WindowStore(60), seconds * 10**9
    index = np.repeat(np.arange(PER_ENTITY + 1, dtype=np.int32), CELLS)
    for i in range(entities):
        name = f"bench/service-{i:05d}"
        series = [Series(name, "x", (("pool", str(k)),)) for k in range(PER_ENTITY)] + [Series(name, "x.limit")]
        rows = np.vstack([values[i * PER_ENTITY : (i + 1) * PER_ENTITY], np.full((1, CELLS), LIMIT)])
        store.put(SampleBatch(tuple(series), index, np.tile(times, PER_ENTITY + 1), rows.ravel()))
    end, took, lines = int(seconds[-1]) // 60 + 1, [], []
    store.snapshot(end)  # compiles
    linear_steps_to_limit(store, end)
    for _ in range(RUNS):
        began = time.perf_counter()
        seen = store.snapshot(end)
        score(FirstDayScorer(), seen.features)
        took.append(time.perf_counter() - began)
        began = time.perf_counter()
        linear_steps_to_limit(store, end)
        lines.append(time.perf_counter() - began)
    order = np.argsort(seen.rows)  # by entity and pool, as `values`
    return statistics.median(lines), statistics.median(took), seen.features[order]


def _prometheus(
    command: str, seconds: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Seconds of each query, and the slopes an hour by `deriv`."""
    url = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1m}\n")
        flags = [f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", "--web.enable-remote-write-receiver"]
        flags += [f"--web.listen-address={url[7:]}", "--query.max-samples=100000000"]
        process = subprocess.Popen([command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _await_ready(f"{url}/-/ready")
            for body in _bodies(seconds, values):
                _post(f"{url}/api/v1/write", body)
            at, many = int(seconds[-1]), "predict_linear(x[1h], 3600)"
            counted = [_query(url, f"count({many})", at) for _ in range(RUNS)]
            if int(counted[0][1][0]["value"][1]) != len(values):
                raise AssertionError(f"Prometheus has {counted[0][1]} of {len(values)} series")
            whole = [_query(url, many, at)[0] for _ in range(RUNS)]
            slopes = np.empty(len(values))
            for row in _query(url, "deriv(x[1h])", at)[1]:
                slopes[int(row["metric"]["n"])] = float(row["value"][1]) * 3600
        finally:
            process.terminate()
            process.wait(20)
    took = {
        "predict_linear, counted in the server": statistics.median(t for t, _ in counted),
        "predict_linear, as JSON": statistics.median(whole),
    }
    return took, slopes


def _bodies(seconds: NDArray[np.int64], values: NDArray[np.float64], block: int = 2000) -> Iterator[bytes]:
    milliseconds = (seconds * 1000).tolist()
    for first in range(0, len(values), block):
        request = WriteRequest()
        for n in range(first, min(first + block, len(values))):
            labels = {
                "__name__": "x",
                "job": f"service-{n // PER_ENTITY:05d}",
                "n": str(n),
                "pool": str(n % PER_ENTITY),
            }
            series = request.timeseries.add(
                labels=[Label(name=k, value=v).SerializeToString() for k, v in labels.items()]
            )
            for time_ms, value in zip(milliseconds, values[n].tolist(), strict=True):
                series.samples.add(value=value, timestamp=time_ms)
        yield bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def _post(url: str, body: bytes) -> None:
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    headers["x-prometheus-remote-write-version"] = "0.1.0"
    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30).read()


def _query(url: str, text: str, at: int) -> tuple[float, list[dict]]:  # type: ignore[type-arg]
    """Seconds until the whole answer is there, and its rows."""
    began = time.perf_counter()
    parameters = urllib.parse.urlencode({"query": text, "time": at})
    answer = urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=60).read()
    took = time.perf_counter() - began
    return took, json.loads(answer)["data"]["result"]


def _await_ready(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

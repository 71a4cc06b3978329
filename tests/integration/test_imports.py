"""History into the archive: from Debian's Prometheus, through a server that is busy, from files."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from integration.processes import answers, wait_until
from servers import free_port

from forewarn.services.importing.long_table import LongFormatError, LongReader, Tally
from forewarn.services.importing.prometheus import Progress, PrometheusImport, Wanted
from forewarn.services.importing.prometheus_api import PrometheusApi, PrometheusError
from forewarn.stores.imports import Imports, missing_spans
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.prometheus_series import series_of_labels
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest
from forewarn.telemetry.remote_write import decode_write_request
from forewarn.telemetry.samples import Kind, Series

HOUR_MS = 3_600_000
HOURS, EVERY_S = 30, 15
STOP = datetime(2026, 3, 2, 6, tzinfo=UTC)
START = STOP - timedelta(hours=HOURS)
SELECTOR = '{job=~".+"}'
CPU = Series("shop/api", "cpu_usage_ratio", (("core", "0"), ("instance", "a:80")))
REQUESTS = Series("shop/api", "http_requests_total", (("code", "200"), ("instance", "a:80")), Kind.CUMULATIVE)


def history() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Times (s) and values by series as OpenMetrics names it; the counter is silent for two hours."""
    times = np.arange(int(START.timestamp()), int(STOP.timestamp()), EVERY_S)
    rng = np.random.default_rng(0)
    found = {
        f'cpu_usage_ratio{{job="shop/api",instance="a:80",core="{k}"}}': (times, rng.random(len(times)))
        for k in range(3)
    }
    found['cpu_idle_ratio{job="shop/api",instance="a:80",core="0"}'] = times, rng.random(len(times))  # the same labels
    heard = (times < times[0] + 7200) | (times >= times[0] + 14_400)
    counts = np.cumsum(rng.integers(0, 9, len(times))).astype(float)
    found['http_requests_total{job="shop/api",instance="a:80",code="200"}'] = times[heard], counts[heard]
    return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of Debian's Prometheus with 30 hours of history."""
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        pytest.skip("prometheus and promtool are not installed: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    lines = []
    for name in sorted(history()):
        times, values = history()[name]
        lines += [f"{name} {value!r} {at}" for at, value in zip(times.tolist(), values.tolist(), strict=True)]
    kinds = ["# TYPE cpu_usage_ratio gauge", "# TYPE http_requests counter"]
    split = next(i for i, line in enumerate(lines) if line.startswith("http"))
    (folder / "history.txt").write_text("\n".join([kinds[0], *lines[:split], kinds[1], *lines[split:], "# EOF\n"]))
    data = folder / "data"
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "history.txt"), str(data)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    port = free_port()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={data}",
         "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        cwd=folder,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), 60, "readiness of Prometheus")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def archived(url: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Samples (ms, value) of each series in the archive, in the order of time."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select entity, name, (extract(epoch from time) * 1000)::bigint, value "
            "from metric_samples join metric_series using (series_id) order by time"
        ).fetchall()
    for entity, name, at, value in rows:
        found.setdefault((entity, name), []).append((at, value))
    return found


def wanted(**changes: object) -> Wanted:
    return Wanted(**{"selectors": (SELECTOR,), "start": START, "stop": STOP, **changes})  # type: ignore[arg-type]


def run(
    url: str, postgres_url: str, stop_after: int = 0, most: int = 400_000, patience: float = 20, **changes: object
) -> Progress:
    """Import; with `stop_after`, until so many pieces are done."""
    stop = threading.Event()
    with PrometheusApi(url, patience_seconds=patience) as api, Imports(postgres_url) as imports:
        work = PrometheusImport(api, imports, wanted(**changes), piece_samples=most)
        work.on_progress = lambda p: stop.set() if stop_after and p.pieces >= stop_after else None
        return work.run(work.plan(), stop)


def expected() -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(t * 1000, v) for t, v in zip(*map(np.ndarray.tolist, h), strict=True)] for name, h in history().items()
    }


def test_every_sample_arrives_once_although_it_is_stopped_and_repeated(prometheus: str, postgres_url: str) -> None:
    first = run(prometheus, postgres_url, stop_after=3, most=2_000)
    assert not first.done and 0 < first.new < 8_000
    second = run(prometheus, postgres_url, most=2_000)
    assert second.done and second.pieces > 8
    truth = expected()
    total = sum(map(len, truth.values()))
    assert first.new + second.new == total
    assert second.read == second.new, "what was done before is not read again"
    assert run(prometheus, postgres_url).read == 0
    again = run(prometheus, postgres_url, selectors=('{__name__=~"cpu.*|http.*"}',))  # the same under another name
    assert again.read == total and again.new == 0
    found = archived(postgres_url)
    assert found["shop/api", REQUESTS.name] == truth['http_requests_total{job="shop/api",instance="a:80",code="200"}']
    for k in range(3):
        name = CPU.name.replace("core=0", f"core={k}")
        assert found["shop/api", name] == truth[f'cpu_usage_ratio{{job="shop/api",instance="a:80",core="{k}"}}']
    with psycopg.connect(postgres_url) as connection:
        kinds = dict(connection.execute("select signal, kind from metric_series").fetchall())
        cells = connection.execute("select count(distinct cell) from rollup_pending").fetchone()
    assert kinds == {"cpu_idle_ratio": "gauge", "cpu_usage_ratio": "gauge", "http_requests_total": "cumulative"}
    assert cells == (HOURS * 12,)


def test_with_a_step_the_values_are_those_of_a_range_query(prometheus: str, postgres_url: str) -> None:
    progress = run(
        prometheus, postgres_url, step=timedelta(seconds=5), selectors=("cpu_usage_ratio",), namespace="again"
    )
    query = {
        "query": 'cpu_usage_ratio{core="0"}',
        "start": START.timestamp(),
        "end": START.timestamp() + 3600,
        "step": 5,
    }
    told = httpx.get(f"{prometheus}/api/v1/query_range", params=query).json()["data"]["result"][0]["values"]
    mine = archived(postgres_url)["again/api", CPU.name]
    assert mine[: len(told)] == [(round(t * 1000), float(v)) for t, v in told]
    assert progress.read == 3 * HOURS * 720  # more than 11,000 points of each series: in pieces
    assert progress.pieces >= 2


def test_a_dry_run_tells_how_much_there_is(prometheus: str, postgres_url: str) -> None:
    with PrometheusApi(prometheus) as api, Imports(postgres_url) as imports:
        work = PrometheusImport(api, imports, wanted())
        work.plan()
        assert work.count_series() == {SELECTOR: 5}
        total = sum(map(len, expected().values()))
        assert total <= work.progress.expected <= total * 1.01 + 200
    assert archived(postgres_url) == {}


def test_a_wrong_selector_or_address_is_told(prometheus: str, postgres_url: str) -> None:
    with pytest.raises(PrometheusError, match="parse error"):
        run(prometheus, postgres_url, selectors=("{job=",))
    with pytest.raises(PrometheusError, match=r"no Prometheus answers at http://127\.0\.0\.1:1 "):
        run("http://user:secret@127.0.0.1:1", postgres_url, patience=0.2)


class Busy(ThreadingHTTPServer):
    """Passes queries on to a Prometheus; wants a token, and every third time it is busy or it is too much."""

    target, seen, asked = "", 0, 0.0


class _Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen += 1
        if self.headers["authorization"] != "Bearer letmein":
            return self._answer(401, b"no")
        if self.server.seen % 3 == 0:
            return self._answer(429, b"slow down", ("retry-after", "0.05"))
        if self.server.seen % 7 == 0:
            error = {"status": "error", "error": "query processing would load too many samples into memory"}
            return self._answer(422, json.dumps(error).encode())
        told = httpx.post(
            self.server.target + self.path, content=body, headers={"content-type": self.headers["content-type"]}
        )
        return self._answer(told.status_code, told.content)

    def _answer(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("content-length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def busy(target: str) -> Iterator[str]:
    server = Busy(("127.0.0.1", 0), _Handler)
    server.target = target
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FOREWARN_")}
    return subprocess.run(
        [sys.executable, "-m", "forewarn.cli.app", "import", *arguments], capture_output=True, text=True, timeout=90,
        env={**clean, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )  # fmt: skip


def test_the_command_copes_with_a_busy_server_and_shows_no_secret(prometheus: str, postgres_url: str) -> None:
    span = ["--match", SELECTOR, "--since", START.isoformat(), "--until", STOP.isoformat()]
    with busy(prometheus) as url:
        refused = command("prometheus", "--url", url, *span, FOREWARN_POSTGRES_URL=postgres_url)
        assert refused.returncode == 1 and "FOREWARN_PROMETHEUS_TOKEN" in refused.stderr
        secret = {"FOREWARN_POSTGRES_URL": postgres_url, "FOREWARN_PROMETHEUS_TOKEN": "letmein"}
        done = command("prometheus", "--url", url, *span, **secret)
    assert done.returncode == 0, done.stderr
    total = sum(map(len, expected().values()))
    assert f"{total:,} are new in the archive" in done.stdout
    assert sum(map(len, archived(postgres_url).values())) == total
    assert "letmein" not in done.stdout + done.stderr + refused.stderr


def test_labels_name_the_series_that_remote_write_names() -> None:
    for labels in (
        {"__name__": "up", "job": "node", "instance": "a:9100"},
        {"__name__": "x_total", "job": "prod/api", "instance": "b", "code": "200"},
        {"__name__": "y", "namespace": "prod", "pod": "p-0"},
    ):
        request = WriteRequest()
        row = request.timeseries.add(labels=[Label(name=k, value=v).SerializeToString() for k, v in labels.items()])
        row.samples.add(value=2.0, timestamp=5_000)
        (payload,) = decode_write_request(request.SerializeToString()).requests.values()
        assert series_of_labels(labels) == decode_metrics(payload).series[0]


def test_what_is_left_is_what_is_wanted_without_what_is_done() -> None:
    t = [START + timedelta(hours=h) for h in range(10)]
    assert missing_spans((t[1], t[8]), [(t[0], t[2]), (t[4], t[5]), (t[7], t[9])]) == [(t[2], t[4]), (t[5], t[7])]
    assert missing_spans((t[1], t[2]), [(t[0], t[3])]) == []
    assert missing_spans((t[1], t[2]), [(t[5], t[6])]) == [(t[1], t[2])]


CSV = """time,entity,signal,value,attributes,unit,kind
2026-01-05T10:00:00Z,shop/api,cpu,0.5,,1,
2026-01-05T11:00:00.25+01:00,shop/api,cpu,0.75,,1,
1767607260,shop/api,requests,7,"{""code"": ""200""}",1,cumulative
2026-01-05T10:02:00,shop/api,cpu,1,,1,
2026-01-05T10:03:00Z,shop/api,cpu,many,,1,
2026-01-05T10:04:00Z,,cpu,1,,1,
2026-01-05T10:05:00Z,shop/api,cpu,1,,1,weekly
2026-01-05T10:06:00Z,shop/api,cpu
2026-01-05T10:07:00Z,shop/api,cpu,1,[1],1,
"""


def test_csv_in_the_long_format_twice(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    told = command("csv", str(tmp_path), FOREWARN_POSTGRES_URL=postgres_url)
    assert told.returncode == 0, told.stderr
    for line, reason in (
        (5, "time"),
        (6, "value"),
        (7, "entity is empty"),
        (8, "weekly"),
        (9, "3 cells"),
        (10, "JSON"),
    ):
        assert any(f"line {line}:" in row and reason in row for row in told.stdout.splitlines()), (line, told.stdout)
    assert "3 samples in 9 rows" in told.stdout and "3 are new" in told.stdout and "6 bad rows" in told.stdout
    with Imports(postgres_url) as imports:
        assert [imports.store([batch]) for batch in LongReader().read(tmp_path / "a.csv", Tally())] == [0]
    ten = 1_767_607_200_000
    assert archived(postgres_url) == {
        ("shop/api", "cpu"): [(ten, 0.5), (ten + 250, 0.75)],
        ("shop/api", "requests{code=200}"): [(ten + 60_000, 7.0)],
    }


def test_parquet_in_the_long_format(tmp_path: Path, postgres_url: str) -> None:
    times = pd.date_range("2026-01-05", periods=1000, freq="30s", tz="UTC")
    frame = pd.DataFrame({"time": times, "entity": "api", "signal": "cpu", "value": np.arange(1000.0)})
    frame.loc[10, "value"] = np.nan
    frame.to_parquet(tmp_path / "h.parquet")
    tally = Tally()
    with Imports(postgres_url) as imports:
        assert sum(imports.store([batch]) for batch in LongReader("old").read(tmp_path / "h.parquet", tally)) == 999
    assert (tally.rows, tally.bad, tally.first_bad) == (1000, 1, [(11, "value is no number")])
    mine = archived(postgres_url)["old/api", "cpu"]
    assert len(mine) == 999 and mine[-1] == (int(times[-1].timestamp() * 1000), 999.0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"time": [1.0], "entity": ["a"], "value": [1.0]}, "has no column signal"),
        ({"time": pd.to_datetime(["2026-01-05"]), "entity": ["a"], "signal": ["b"], "value": [1.0]}, "no time zone"),
    ],
)
def test_what_is_not_the_long_format_is_told(tmp_path: Path, frame: dict[str, object], said: str) -> None:
    pd.DataFrame(frame).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(LongFormatError, match=said):
        list(LongReader().read(tmp_path / "x.parquet", Tally()))


def test_days_are_partitions_in_dagster(
    prometheus: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster as dg

    from monitor_assets.ingestion.imported import LongFiles, PrometheusSource, imported_files, imported_metrics

    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    folder = tmp_path / "day=2026-01-05"
    folder.mkdir()
    (folder / "a.csv").write_text(CSV)
    resources = {
        "prometheus": PrometheusSource(url=prometheus, match=[SELECTOR]),
        "long_files": LongFiles(folder=str(tmp_path), namespace="old"),
    }

    def materialize(asset: dg.AssetsDefinition, day: str) -> dict[str, object]:
        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize([asset], partition_key=day, resources=resources, instance=instance)
            (told,) = done.asset_materializations_for_node(asset.node_def.name)
        return {name: value.value for name, value in told.metadata.items()}

    midnight = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1000
    of_day = sum(midnight <= t < midnight + 24 * HOUR_MS for rows in expected().values() for t, _ in rows)
    assert materialize(imported_metrics, "2026-03-01")["new"] == of_day > 0
    assert materialize(imported_metrics, "2026-03-01")["samples"] == 0  # a backfill may be repeated
    told = materialize(imported_files, "2026-01-05")
    assert (told["rows"], told["bad rows"], told["new"]) == (9, 6, 3)
    assert materialize(imported_files, "2026-01-06")["rows"] == 0

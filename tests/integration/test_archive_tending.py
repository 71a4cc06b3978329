"""Roll-ups and retention on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from forewarn.config.settings import Settings
from forewarn.services.archiver.tending import Tending
from forewarn.stores.archive import SampleWriter
from forewarn.stores.locks import Lock
from forewarn.stores.retention import cutoff
from forewarn.stores.rollups import FIVE_MINUTES, HOUR, best_width, name_pending, roll_up_due
from forewarn.telemetry.samples import SampleBatch, Series

NOW = timedelta(0)
START = datetime(2026, 1, 5, 10, tzinfo=UTC)
SERIES = tuple(Series(f"shop/api{k}", "cpu") for k in range(3))


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url) as connection:
        yield connection


def batch(start: datetime, minutes: int, seed: int, every: float = 10.0) -> SampleBatch:
    """Samples of the three series every few seconds; one in twenty is a stale mark."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, minutes * 60, every)
    times = int(start.timestamp()) * 10**9 + (seconds * 1e9).astype(np.int64)
    values = rng.normal(size=3 * len(times))
    values[rng.random(len(values)) < 0.05] = np.nan
    return SampleBatch(SERIES, np.repeat(np.arange(3, dtype=np.int32), len(times)), np.tile(times, 3), values)


def expected(batches: list[SampleBatch], width: timedelta) -> dict[tuple[str, int], tuple[float, ...]]:
    """Minimum, maximum, mean, count and last of each series and cell, by NumPy."""
    index = np.concatenate([b.index for b in batches])
    times = np.concatenate([b.times for b in batches])
    values = np.concatenate([b.values for b in batches])
    cell = times // int(width.total_seconds() * 1e9)
    found = {}
    for which, at in set(zip(index.tolist(), cell.tolist(), strict=True)):
        mine = (index == which) & (cell == at) & ~np.isnan(values)
        if mine.any():
            v = values[mine]
            key = SERIES[which].entity, at * int(width.total_seconds())
            found[key] = (v.min(), v.max(), v.mean(), len(v), v[times[mine].argmax()])
    return found


def stored(connection: psycopg.Connection, table: str) -> dict[tuple[str, int], tuple[float, ...]]:
    rows = connection.execute(
        f"select entity, extract(epoch from time)::bigint, min, max, mean, count, last "  # noqa: S608
        f"from {table} join metric_series using (series_id)".encode()
    ).fetchall()
    return {(entity, at): tuple(values) for entity, at, *values in rows}


def assert_rolled_up(connection: psycopg.Connection, batches: list[SampleBatch]) -> None:
    for width, table in ((FIVE_MINUTES, "metric_rollups_5m"), (HOUR, "metric_rollups_1h")):
        wanted, found = expected(batches, width), stored(connection, table)
        assert found.keys() == wanted.keys()
        for key, values in wanted.items():
            assert found[key] == pytest.approx(values, rel=1e-12, abs=1e-15), key


def test_cells_hold_what_their_samples_say_also_when_some_come_late(connection: psycopg.Connection) -> None:
    writer, first = SampleWriter(), batch(START, 150, 0)
    writer.write(connection, [first])
    assert roll_up_due(connection, quiet=NOW) == 30
    assert_rolled_up(connection, [first])
    late = batch(START + timedelta(minutes=62), 3, 1, every=7.0)
    writer.write(connection, [late])
    assert roll_up_due(connection, quiet=NOW) == 1
    assert_rolled_up(connection, [first, late])


def test_the_first_cell_of_an_hour_is_rolled_up_at_once_though_the_statistics_do_not_know_it(
    connection: psycopg.Connection,
) -> None:
    def fill(hour: datetime) -> None:
        connection.execute("insert into metric_rollups_5m select n, %s, 0, 1, 0, 1, 1 from generate_series(1, 30000) n",
                           (hour,))  # fmt: skip
        name_pending(connection, [hour])
        connection.commit()

    fill(START)
    roll_up_due(connection, quiet=NOW)
    connection.execute("analyze metric_rollups_5m")
    fill(START + HOUR)
    connection.execute("set statement_timeout = '20s'")  # a second is enough; every series with every other: a minute
    connection.commit()
    assert roll_up_due(connection, quiet=NOW) == 1
    assert connection.execute("select count(*) from metric_rollups_1h").fetchone() == (60_000,)


def test_a_repetition_changes_nothing_and_the_newest_cell_waits(connection: psycopg.Connection) -> None:
    writer, first = SampleWriter(), batch(START, 20, 0)
    writer.write(connection, [first])
    assert roll_up_due(connection) == 0  # it may still be filled
    assert roll_up_due(connection, longest=NOW) == 4  # but not for ever
    connection.execute("insert into rollup_pending (cell) select time from metric_rollups_5m")
    roll_up_due(connection, quiet=NOW)
    assert_rolled_up(connection, [first])
    assert roll_up_due(connection, quiet=NOW) == 0


def test_retention_drops_days_but_never_their_roll_ups(connection: psycopg.Connection, postgres_url: str) -> None:
    today = datetime.now(UTC)
    old, young = today - timedelta(days=12), today - timedelta(days=1)
    batches = [batch(old.replace(microsecond=0), 10, 0), batch(young.replace(microsecond=0), 10, 1)]
    writer = SampleWriter()
    writer.write(connection, batches)
    connection.execute("insert into log_records select t, 'a', 'INFO', 'x' from unnest(%s) t", ([old, young],))
    connection.execute("update rollup_pending set recorded_at = now() - interval '1 hour'")
    connection.commit()
    tending = Tending(Settings(postgres_url=postgres_url, retention_days=10), {})
    assert tending.tend_once()
    days = "select count(distinct time::date), min(time) from metric_samples"
    oldest, kept_from = (connection.execute(days).fetchone() or ())[1], cutoff(10)
    assert kept_from is not None and oldest >= kept_from
    assert connection.execute("select count(*) from log_records").fetchone() == (1,)
    assert_rolled_up(connection, batches)
    whole = stored(connection, "metric_rollups_1h")
    connection.commit()
    with pytest.raises(psycopg.errors.CheckViolation):
        writer.write(connection, [batch(old.replace(microsecond=0), 1, 2)])
    connection.rollback()
    writer.write(connection, [batch(old.replace(microsecond=0), 1, 2)])  # late, for a day that is gone
    connection.execute("update rollup_pending set recorded_at = now() - interval '1 hour'")
    connection.commit()
    assert tending.tend_once()
    assert stored(connection, "metric_rollups_1h") == whole


def test_an_hour_before_the_retention_holds_all_of_its_cells_though_they_came_in_parts(
    connection: psycopg.Connection,
) -> None:
    parts = [batch(START, 40, 0), batch(START + timedelta(minutes=40), 20, 1)]
    for part in parts:
        SampleWriter().write(connection, [part])
        assert roll_up_due(connection, kept_from=START + timedelta(days=1), quiet=NOW) > 0
    assert_rolled_up(connection, parts)


def test_a_day_that_is_not_rolled_up_is_not_dropped(connection: psycopg.Connection, postgres_url: str) -> None:
    SampleWriter().write(connection, [batch(datetime.now(UTC) - timedelta(days=5), 10, 0)])
    tending = Tending(Settings(postgres_url=postgres_url, retention_days=1), {})
    tending.tend_once()
    assert (connection.execute("select count(*) from metric_samples").fetchone() or (0,))[0] > 0


def test_one_archiver_tends_for_all(connection: psycopg.Connection, postgres_url: str) -> None:
    connection.execute("select pg_advisory_lock(%s)", (Lock.TEND_ARCHIVE.value,))
    assert not Tending(Settings(postgres_url=postgres_url), {}).tend_once()


def test_samples_from_before_there_were_roll_ups_are_rolled_up(
    connection: psycopg.Connection, postgres_url: str
) -> None:
    old = batch(START, 30, 0)
    SampleWriter().write(connection, [old])
    connection.execute("truncate rollup_pending")
    connection.commit()
    Tending(Settings(postgres_url=postgres_url), {}).tend_once()
    assert_rolled_up(connection, [old])


def test_wide_cells_are_made_of_roll_ups() -> None:
    widths = [best_width(timedelta(minutes=m)) for m in (1, 19, 20, 239, 240)]
    assert widths == [None, None, FIVE_MINUTES, FIVE_MINUTES, HOUR]


def test_absurd_values_do_not_keep_others_from_being_rolled_up(connection: psycopg.Connection) -> None:
    values = np.array([1e308, -1e308, 1e308, 5.0])
    series = (Series("a/b", "absurd"), Series("a/b", "good"))
    times = (int(START.timestamp()) + np.arange(4)) * 10**9
    SampleWriter().write(connection, [SampleBatch(series, np.array([0, 0, 0, 1]), times, values)])
    assert roll_up_due(connection, quiet=NOW) == 1
    rows = connection.execute(b"select max, mean from metric_rollups_1h order by max").fetchall()
    assert rows == [(5.0, 5.0), (1e308, pytest.approx(1e150 / 3))]

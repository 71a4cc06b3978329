"""What every archive of metrics promises."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from forewarn.features.series_budget import SeriesBudget
from forewarn.stores.archive import SCHEMA, MetricArchive, PostgresMetricArchive, SampleWriter
from forewarn.stores.in_memory.metric_archive import MemoryMetricArchive
from forewarn.telemetry.samples import Kind, SampleBatch, Series

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
API = Series("shop/api", "http.requests", (("code", "200"), ("path", "a|b{c=d}")), Kind.CUMULATIVE, "1")
CPU = Series("shop/api", "cpu", (), Kind.GAUGE, "1")
HOST = Series("laptop", "cpu", (), Kind.DELTA, "s")
OTHER = Series("shop2/api", "cpu")


@pytest.fixture(params=["memory", "postgres"])
def archive(request: pytest.FixtureRequest) -> Iterator[MetricArchive]:
    if request.param == "memory":
        yield MemoryMetricArchive()
    else:
        yield PostgresMetricArchive(request.getfixturevalue("postgres_url"))


def batch(*rows: tuple[Series, float, float]) -> SampleBatch:
    """Samples (series, seconds after noon, value)."""
    series = tuple(dict.fromkeys(row[0] for row in rows))
    start = int(NOON.timestamp()) * 10**9
    return SampleBatch(
        series,
        np.array([series.index(row[0]) for row in rows], np.int32),
        np.array([start + round(row[1] * 1e9) for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
    )


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_what_goes_in_comes_out_by_series_and_time(archive: MetricArchive) -> None:
    archive.append(batch((API, 10, 2.0), (CPU, 0, 0.5), (API, 5, 1.0)))
    archive.append(batch((CPU, 3.000001, 0.25)))
    table = archive.read_samples("shop", NOON, after(60))
    assert table.schema == SCHEMA
    rows = [(r["series_id"], (r["time"] - NOON).total_seconds(), r["value"]) for r in table.to_pylist()]
    assert rows == [(CPU.id, 0, 0.5), (CPU.id, 3.000001, 0.25), (API.id, 5, 1.0), (API.id, 10, 2.0)]
    last = table.to_pylist()[-1]
    assert (last["entity"], last["name"], last["signal"]) == (API.entity, API.name, API.signal)
    assert (last["kind"], last["unit"]) == ("cumulative", "1")


def test_an_interval_has_its_start_but_not_its_end(archive: MetricArchive) -> None:
    archive.append(batch((CPU, 0, 1.0), (CPU, 1, 2.0), (CPU, 2, 3.0)))
    assert archive.read_samples("shop", after(1), after(2))["value"].to_pylist() == [2.0]


def test_a_namespace_has_only_its_own_entities(archive: MetricArchive) -> None:
    archive.append(batch((CPU, 0, 1.0), (HOST, 0, 2.0), (OTHER, 0, 3.0)))
    for namespace, value in (("shop", 1.0), ("", 2.0), ("shop2", 3.0)):
        assert archive.read_samples(namespace, NOON, after(1))["value"].to_pylist() == [value]


def test_nothing_is_an_empty_table(archive: MetricArchive) -> None:
    assert archive.read_samples("shop", NOON, after(1)).schema == SCHEMA
    archive.append(batch())
    assert archive.read_samples("shop", NOON, after(1)).num_rows == 0
    assert archive.series() == []


def test_series_come_back_as_they_were(archive: MetricArchive) -> None:
    archive.append(batch((API, 0, 1.0), (CPU, 0, 1.0), (HOST, 0, 1.0)))
    assert archive.series() == [HOST, CPU, API]


def test_days_apart_and_stale_marks(archive: MetricArchive) -> None:
    day = 86_400.0
    archive.append(batch((CPU, -20 * day, 1.0), (CPU, 0, float("nan")), (CPU, 20 * day, 3.0)))
    values = archive.read_samples("shop", after(-30 * day), after(30 * day))["value"].to_pylist()
    assert values[0] == 1.0
    assert np.isnan(values[1])
    assert values[2] == 3.0


def test_a_dropped_day_is_made_again(postgres_url: str) -> None:
    archive = PostgresMetricArchive(postgres_url)
    archive.append(batch((CPU, 0, 1.0)))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("drop table metric_samples_20260105")
    with pytest.raises(psycopg.errors.CheckViolation):
        archive.append(batch((CPU, 1, 2.0)))
    archive.append(batch((CPU, 2, 3.0)))
    assert archive.read_samples("shop", NOON, after(60))["value"].to_pylist() == [3.0]


def test_many_rows_are_read(postgres_url: str) -> None:
    archive = PostgresMetricArchive(postgres_url)
    series = tuple(Series(f"shop/api-{i}", "cpu", (("core", str(i % 8)),)) for i in range(1000))
    steps = np.arange(300, dtype=np.int64) * 60 * 10**9 + int(NOON.timestamp()) * 10**9
    index = np.tile(np.arange(1000, dtype=np.int32), 300)
    archive.append(SampleBatch(series, index, np.repeat(steps, 1000), np.arange(300_000, dtype=np.float64)))
    table = archive.read_samples("shop", NOON, after(86_400))
    assert table.num_rows == 300_000
    assert table["value"].to_numpy().sum() == np.arange(300_000, dtype=np.float64).sum()


def test_series_beyond_the_limit_are_left_out_and_counted(postgres_url: str) -> None:
    many = tuple(Series("limits/bad", "requests", (("user", str(i)),)) for i in range(50))
    good = Series("limits/good", "use")
    writer = SampleWriter(lambda: SeriesBudget(per_entity=10, in_all=1000))
    series = (*many, good)
    batch = SampleBatch(series, np.arange(51, dtype=np.int32), np.full(51, 1_700_000_000 * 10**9), np.arange(51.0))
    with psycopg.connect(postgres_url) as connection:
        writer.write(connection, [batch])
        writer.write(connection, [batch])
        rows = connection.execute(
            "select entity, count(distinct series_id), count(*) from metric_samples"
            " join metric_series using (series_id) where entity like 'limits/%' group by entity order by entity"
        ).fetchall()
    assert rows == [("limits/bad", 10, 20), ("limits/good", 1, 2)]
    assert writer.numbers.budget is not None
    assert writer.numbers.budget.refused == 80

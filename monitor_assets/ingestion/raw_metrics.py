"""Samples of a namespace from the archive, as Parquet files by day."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from forewarn.stores.archive import PostgresMetricArchive, in_namespace
from monitor_assets.history import History, write_parquet
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

_ENDS = """
select min(first), max(last) from metric_series m
cross join lateral (
  select min(time) as first, max(time) as last from metric_samples s where s.series_id = m.series_id
) ends
where case when %(namespace)s = '' then strpos(m.entity, '/') = 0 else starts_with(m.entity, %(namespace)s || '/') end
"""


@dg.asset(group_name="ingestion", kinds={"postgres", "parquet"}, owners=["team:forewarn"])
def raw_metrics(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Samples of the namespace in the run's interval, from the PostgreSQL archive, one Parquet file a day.

    Only days that have got samples since are written again. Days that the archive no longer keeps stay.
    """
    history, archive = scope.history(), PostgresMetricArchive(scope.postgres_url)
    start, stop = interval_of(scope)
    kept = history.days_there()
    if not scope.start and kept:
        start = min(start, datetime.combine(kept[0], time(), UTC))
    series = [s for s in archive.series() if in_namespace(s, scope.namespace)]
    rows = [(first.date().isoformat(), *_bring_up_to_date(history, archive, first)) for first, _ in days(start, stop)]
    history.write_series(series)
    history.write_json("interval", [start.isoformat(), stop.isoformat()])
    total, written = sum(n for _, n, _ in rows), sum(new for _, _, new in rows)
    context.log.info("%d samples of %d series, %s to %s; %d days written", total, len(series), start, stop, written)
    return dg.MaterializeResult(
        metadata={
            "samples": total,
            "series": len(series),
            "days written": written,
            "from": dg.MetadataValue.timestamp(start),
            "to": dg.MetadataValue.timestamp(stop),
            "by day": table(["day", "samples", "written"], rows),
            "folder": dg.MetadataValue.path(str(history.folder / "raw_metrics")),
        }
    )


def _bring_up_to_date(history: History, archive: PostgresMetricArchive, time_of_day: datetime) -> tuple[int, bool]:
    """Samples in the file of a day, and whether it was written: the archive holds another number of them."""
    day = time_of_day.date()
    path, midnight = history.day_file(day), datetime.combine(day, time(), UTC)
    kept = pq.read_metadata(path).num_rows if path.exists() else 0
    held = archive.count_samples(history.namespace, midnight, midnight + timedelta(days=1))
    if held in (0, kept):
        return kept, False
    samples = archive.read_samples(history.namespace, midnight, midnight + timedelta(days=1))
    write_parquet(path, _slim(samples))
    return samples.num_rows, True


def interval_of(scope: TrainingScope) -> tuple[datetime, datetime]:
    """The interval asked for, open ends filled from the archive. Raises dagster.Failure where it holds nothing."""
    start, stop = scope.bounds()
    with psycopg.connect(scope.postgres_url) as connection:
        row = connection.execute(_ENDS, {"namespace": scope.namespace}).fetchone()
    if row is None or row[0] is None:
        raise dg.Failure(
            f"the archive holds no metrics of namespace '{scope.namespace}': send some to the gateway (its entities "
            f"are named '{scope.namespace}/…'), or name another namespace in the run's config"
        )
    start = start or row[0].astimezone(UTC)
    stop = stop or row[1].astimezone(UTC) + timedelta(microseconds=1)
    if stop <= start:
        raise dg.Failure(f"the interval from {start} to {stop} is empty; the archive holds {row[0]} to {row[1]}")
    return start, stop


def days(start: datetime, stop: datetime) -> Iterator[tuple[datetime, datetime]]:
    """[start, stop) cut at midnights, UTC."""
    first = start
    while first < stop:
        midnight = datetime.combine(first.date() + timedelta(days=1), time(), UTC)
        yield first, min(midnight, stop)
        first = midnight


def _slim(samples: pa.Table) -> pa.Table:
    """Texts that repeat as dictionaries."""
    for i, field in enumerate(samples.schema):
        if pa.types.is_string(field.type):
            samples = samples.set_column(i, field.name, samples.column(i).dictionary_encode())
    return samples

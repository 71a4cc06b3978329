"""Samples of a namespace from the archive, as Parquet files by day."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import psycopg
import pyarrow as pa

from forewarn.stores.archive import PostgresMetricArchive, in_namespace
from monitor_assets.history import write_parquet
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
    """Every sample of the namespace in the run's interval, from the PostgreSQL archive, one Parquet file a day.

    Days that are no longer in the interval are removed, so that the folder always is what the run speaks of.
    """
    history, archive = scope.history(), PostgresMetricArchive(scope.postgres_url)
    start, stop = interval_of(scope)
    series = [s for s in archive.series() if in_namespace(s, scope.namespace)]
    for path in history.day_files():
        path.unlink()
    rows = []
    for first, last in days(start, stop):
        samples = archive.read_samples(scope.namespace, first, last)
        if samples.num_rows:
            write_parquet(history.day_file(first.date()), _slim(samples))
        rows.append((first.date().isoformat(), samples.num_rows))
    history.write_series(series)
    total = sum(n for _, n in rows)
    context.log.info("%d samples of %d series, %s to %s", total, len(series), start, stop)
    return dg.MaterializeResult(
        metadata={
            "samples": total,
            "series": len(series),
            "from": dg.MetadataValue.timestamp(start),
            "to": dg.MetadataValue.timestamp(stop),
            "by day": table(["day", "samples"], rows),
            "folder": dg.MetadataValue.path(str(history.folder / "raw_metrics")),
        }
    )


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

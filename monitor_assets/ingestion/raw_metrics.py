"""Samples of a namespace from the archive, as Parquet files by day."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import duckdb
import psycopg
import pyarrow.parquet as pq

from forewarn.stores.archive import PostgresMetricArchive, in_namespace
from monitor_assets.history import History, write_parquet
from monitor_assets.ingestion.days import DAYS, IN_TENS, RETRIES, DayDone, days_asked, each_day, span_of, tell_days
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

UP_TO_DATE = "forewarn/history"  # tag of jobs that read all of history, whatever partition they were started with
_ENDS = """
select min(first), max(last) from metric_series m
cross join lateral (
  select min(time) as first, max(time) as last from metric_samples s where s.series_id = m.series_id
) ends
where case when %(namespace)s = '' then strpos(m.entity, '/') = 0 else starts_with(m.entity, %(namespace)s || '/') end
"""


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=IN_TENS,
    retry_policy=RETRIES,
    group_name="ingestion",
    kinds={"postgres", "parquet"},
    owners=["team:forewarn"],
)
def raw_metrics(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Samples of the namespace from the PostgreSQL archive, one Parquet file a day.

    A backfill writes the days of its partitions. A job that reads all of history (`train`, `drift`, `smoke`), and a
    run without partitions, brings the days of its interval up to date. Only days that have got samples since are
    written again. Days that the archive no longer keeps stay.
    """
    history, archive = scope.history(), PostgresMetricArchive(scope.postgres_url)
    asked = None if context.has_tag(UP_TO_DATE) else days_asked(context)
    series = [s for s in archive.series() if in_namespace(s, scope.namespace)]
    if asked is None:
        start, stop = interval_of(scope)
        kept = history.days_there()
        if not scope.start and kept:
            start = min(start, datetime.combine(kept[0], time(), UTC))
        history.write_json("interval", [start.isoformat(), stop.isoformat()])
    wanted = asked if asked is not None else [first.date() for first, _ in days(start, stop)]
    done = each_day(context, wanted, lambda day: _bring_up_to_date(history, archive, day))
    history.add_series(series)
    if asked is None:
        tell_days(context, [one for one in done if one.written])
    total, written = sum(one.rows for one in done), sum(one.written for one in done)
    context.log.info("%d samples of %d series in %d days, %d written", total, len(series), len(done), written)
    return dg.MaterializeResult(
        metadata={
            "samples": total,
            "series": len(series),
            "days written": written,
            "from": str(min(wanted)),
            "to": str(max(wanted)),
            "by day": table(["day", "samples", "written"], [(d.day, d.rows, d.written) for d in done]),
            "folder": dg.MetadataValue.path(str(history.folder / "raw_metrics")),
        }
    )


def _bring_up_to_date(history: History, archive: PostgresMetricArchive, day: date) -> DayDone:
    """Write the file of a day where the archive holds another number of samples."""
    path, (start, stop) = history.day_file(day), span_of(day)
    kept = pq.read_metadata(path).num_rows if path.exists() else 0
    held = archive.count_samples(history.namespace, start, stop)
    if held in (0, kept):
        return DayDone(day, kept, False)
    samples = archive.read_samples(history.namespace, start, stop, dictionaries=True)
    write_parquet(path, samples)
    return DayDone(day, samples.num_rows, True)


def interval_of(scope: TrainingScope) -> tuple[datetime, datetime]:
    """The interval asked for, open ends filled from the archive. Raises dagster.Failure where it holds nothing."""
    start, stop = scope.bounds()
    with psycopg.connect(scope.postgres_url) as connection:
        row = connection.execute(_ENDS, {"namespace": scope.namespace}).fetchone()
    if row is None or row[0] is None:
        raise dg.Failure(
            f"the archive holds no metrics of namespace '{scope.namespace}': send some to the gateway (its entities "
            f"are named '{scope.namespace}/…'), or name another namespace in the run's config",
            allow_retries=False,
        )
    start = start or row[0].astimezone(UTC)
    stop = stop or row[1].astimezone(UTC) + timedelta(microseconds=1)
    if stop <= start:
        raise dg.Failure(
            f"the interval from {start} to {stop} is empty; the archive holds {row[0]} to {row[1]}", allow_retries=False
        )
    return start, stop


def days(start: datetime, stop: datetime) -> Iterator[tuple[datetime, datetime]]:
    """[start, stop) cut at midnights, UTC."""
    first = start
    while first < stop:
        midnight = datetime.combine(first.date() + timedelta(days=1), time(), UTC)
        yield first, min(midnight, stop)
        first = midnight


@dg.asset_check(asset=raw_metrics, description="No day is missing between the first and the last.")
def raw_metrics_have_no_missing_days(scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: a backfill of the days that are named mends it, if the archive has them."""
    there = scope.history().days_there()
    span = (there[-1] - there[0]).days + 1 if there else 0
    missing = sorted({there[0] + timedelta(days=n) for n in range(span)} - set(there)) if there else []
    return dg.AssetCheckResult(
        passed=bool(there) and not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"days": len(there), "missing": [str(day) for day in missing]},
    )


@dg.asset_check(
    asset=raw_metrics,
    blocking=True,
    description="Every sample of the newest day is of that day; infinite values are a warning.",
)
def raw_metrics_are_of_their_day(scope: TrainingScope) -> dg.AssetCheckResult:
    """What is in a wrong file would be seen by rows of another time: nothing goes on. A value that is infinite is the
    sender's and spoils no other: a warning."""
    files = scope.history().day_files()
    if not files:
        return dg.AssetCheckResult(passed=False, description="there is no day")
    start, stop = span_of(date.fromisoformat(files[-1].parent.name.removeprefix("day=")))
    outside = "count(*) filter (epoch_us(time) < ? or epoch_us(time) >= ?)"
    query = f"select count(*), count(*) filter (isinf(value)), {outside} from read_parquet(?)"  # noqa: S608  constants
    with duckdb.connect() as connection:
        bounds = [int(at.timestamp() * 1e6) for at in (start, stop)]
        row = connection.execute(query, [*bounds, str(files[-1])]).fetchone()
    rows, infinite, other = row or (0, 0, 0)
    usable = rows > 0 and not other
    return dg.AssetCheckResult(
        passed=usable and not infinite,
        severity=dg.AssetCheckSeverity.WARN if usable else dg.AssetCheckSeverity.ERROR,
        metadata={"samples": rows, "infinite": infinite, "of another day": other},
    )

"""Assets that come a day at a time: their partitions, how a backfill runs, and what a day that fails means."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from monitor_assets.history import History
from monitor_assets.markdown import table

DAYS = dg.DailyPartitionsDefinition(start_date="2020-01-01", end_offset=1)  # today's, too: it is not over yet
IN_TENS = dg.BackfillPolicy.multi_run(max_partitions_per_run=10)  # a run takes seconds to start, a day less to write
RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)
_MAY_FAIL = (psycopg.Error, OSError, pa.ArrowException, dg.Failure)


@dataclass(frozen=True, slots=True)
class DayDone:
    """A day's rows, and whether its file was written: what is complete is left alone."""

    day: date
    rows: int
    written: bool
    more: dict[str, object] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, object]:
        """What Dagster shows of the day."""
        return {"rows": self.rows, "written": self.written, **self.more}


def days_asked(context: dg.AssetExecutionContext) -> list[date] | None:
    """Days of the run's partitions, None where the run has none."""
    if not (context.has_partition_key or context.has_partition_key_range):
        return None
    return [date.fromisoformat(key) for key in context.partition_keys]


def each_day(context: dg.AssetExecutionContext, days: Iterable[date], work: Callable[[date], DayDone]) -> list[DayDone]:
    """Work on one day after the other. A day that fails does not keep the others from being done: it is named at the
    end, what was done counts as materialised, and the next try finds it complete. Raises dagster.Failure."""
    done: list[DayDone] = []
    failed: dict[date, str] = {}
    hopeless = True
    asked = sorted(days)
    for number, day in enumerate(asked, 1):
        try:
            one = work(day)
        except _MAY_FAIL as error:
            failed[day] = (error.description if isinstance(error, dg.Failure) else str(error).strip()) or repr(error)
            hopeless &= isinstance(error, dg.Failure) and not error.allow_retries
            context.log.error("%s failed (%d of %d): %s", day, number, len(asked), failed[day])
            continue
        done.append(one)
        state = "" if one.written else ", complete before"
        context.log.info("%s: %d rows%s (%d of %d)", day, one.rows, state, number, len(asked))
    if failed:
        tell_days(context, done)
        first = next(iter(failed))
        raise dg.Failure(
            f"{len(failed)} of {len(asked)} days failed, the first is {first}: {failed[first]}. The others are done; "
            "run these days again",
            allow_retries=not hopeless,
            metadata={"failed": table(["day", "reason"], failed.items()), "done": len(done)},
        )
    return done


def complete_before(history: History, day: date, source_asset: str, asset: str) -> DayDone | None:
    """A day whose file was derived after its source was written; None where it is to be derived (again).

    Raises dagster.Failure, not worth another try, where the source is not there.
    """
    source, path = history.event_file(source_asset, day), history.event_file(asset, day)
    if not source.exists():
        raise dg.Failure(f"{source} is not there: materialise {source_asset} of {day} first", allow_retries=False)
    if path.exists() and path.stat().st_mtime > source.stat().st_mtime:
        return DayDone(day, pq.read_metadata(path).num_rows, False)
    return None


def tell_days(context: dg.AssetExecutionContext, done: Iterable[DayDone]) -> None:
    """Note each day as materialised, where Dagster does not by itself."""
    for one in done:
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=one.day.isoformat(), metadata=one.metadata)
        )


def result_of(done: list[DayDone], folder: str) -> dg.MaterializeResult:
    """What an asset returns for its days."""
    return dg.MaterializeResult(
        metadata={
            "rows": sum(one.rows for one in done),
            "days written": sum(one.written for one in done),
            "by day": table(["day", "rows", "written"], [(d.day, d.rows, d.written) for d in done]),
            "folder": dg.MetadataValue.path(folder),
        }
    )


def span_of(day: date) -> tuple[datetime, datetime]:
    """[midnight, next midnight), UTC."""
    midnight = datetime.combine(day, time(), UTC)
    return midnight, midnight + timedelta(days=1)

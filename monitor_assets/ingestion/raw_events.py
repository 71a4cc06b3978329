"""Logs, spans and user activity of a namespace from the archive, as Parquet files by day."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from psycopg import sql

from monitor_assets.ingestion.days import DAYS, IN_TENS, RETRIES, DayDone, days_asked, each_day, result_of, span_of
from monitor_assets.scope import TrainingScope

_TIME = pa.timestamp("us", tz="UTC")
_OF_NAMESPACE = "case when %(ns)s = '' then strpos({0}, '/') = 0 else starts_with({0}, %(ns)s || '/') end"


@dataclass(frozen=True, slots=True)
class EventTable:
    """A table of the archive: `columns` maps each column's name to its SQL and its type."""

    name: str
    entity: str
    columns: dict[str, tuple[str, pa.DataType]]

    @property
    def schema(self) -> pa.Schema:
        """Of the Parquet files."""
        return pa.schema([(name, kind) for name, (_, kind) in self.columns.items()])

    def where(self) -> sql.Composed:
        """Condition for a namespace and a span of time."""
        of = sql.SQL(_OF_NAMESPACE.replace("{0}", self.entity))  # type: ignore[arg-type]  # a constant of this module
        return sql.SQL("from {} where time >= %(start)s and time < %(stop)s and {}").format(
            sql.Identifier(self.name), of
        )

    def query(self) -> sql.Composed:
        """What is copied out."""
        chosen = sql.SQL(", ").join(sql.SQL(f"{text} as {name}") for name, (text, _) in self.columns.items())  # type: ignore[arg-type]
        body = sql.SQL("select {} {} order by time").format(chosen, self.where())
        return sql.SQL("copy ({}) to stdout (format csv)").format(body)


def _utc(column: str) -> str:
    return f"to_char({column} at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


LOGS = EventTable(
    "log_records",
    "entity",
    {
        "time": (_utc("time"), _TIME),
        "entity": ("entity", pa.string()),
        "severity": ("severity", pa.string()),
        "body": ("body", pa.string()),
        "attributes": ("attributes", pa.string()),
    },
)
TRACES = EventTable(
    "spans",
    "entity",
    {
        "time": (_utc("time"), _TIME),
        "trace_id": ("encode(trace_id, 'hex')", pa.string()),
        "span_id": ("encode(span_id, 'hex')", pa.string()),
        "parent_span_id": ("encode(parent_span_id, 'hex')", pa.string()),
        "entity": ("entity", pa.string()),
        "operation": ("operation", pa.string()),
        "duration_seconds": ("duration_seconds", pa.float64()),
        "error": ("case when error then 1 else 0 end", pa.int8()),
    },
)
ACTIVITY = EventTable(
    "activity_events",
    "service",
    {
        "time": (_utc("time"), _TIME),
        "service": ("service", pa.string()),
        "action": ("action", pa.string()),
        "user_hash": ("user_hash", pa.string()),
        "count": ("count", pa.int64()),
    },
)
_OPTIONS = {
    "partitions_def": DAYS, "backfill_policy": IN_TENS, "retry_policy": RETRIES, "group_name": "telemetry",
    "kinds": {"postgres", "parquet"}, "owners": ["team:forewarn"],
}  # fmt: skip


@dg.asset(**_OPTIONS)
def raw_logs(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Log records of a day. Where logs are kept in Loki (`FOREWARN_LOKI_URL`) the archive has none, and the day is
    empty."""
    return _materialise(context, scope, "raw_logs", LOGS)


@dg.asset(**_OPTIONS)
def raw_traces(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Spans of a day."""
    return _materialise(context, scope, "raw_traces", TRACES)


@dg.asset(**_OPTIONS)
def raw_activity(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """What users did on a day; users are pseudonyms."""
    return _materialise(context, scope, "raw_activity", ACTIVITY)


def _materialise(
    context: dg.AssetExecutionContext, scope: TrainingScope, name: str, source: EventTable
) -> dg.MaterializeResult:
    history = scope.history()

    def work(day: date) -> DayDone:
        return write_day(scope.postgres_url, scope.namespace, source, day, history.event_file(name, day))

    return result_of(each_day(context, days_asked(context) or [], work), str(history.folder / name))


def write_day(postgres_url: str, namespace: str, source: EventTable, day: date, path: Path) -> DayDone:
    """Bring a day's file up to date. A day that the archive no longer keeps, or that is complete, is left alone."""
    start, stop = span_of(day)
    asked = {"ns": namespace, "start": start, "stop": stop}
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute(sql.SQL("select count(*) {}").format(source.where()), asked).fetchone()
        held = int(row[0]) if row else 0
        kept = pq.read_metadata(path).num_rows if path.exists() else -1
        if held == kept or (held == 0 and kept > 0):
            return DayDone(day, kept, False)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        rows = _copy_out(connection, source, asked, partial)
    partial.rename(path)
    return DayDone(day, rows, True)


def _copy_out(connection: psycopg.Connection, source: EventTable, asked: dict[str, object], path: Path) -> int:
    """Stream the rows through a file, so that a day of any size fits in memory; how many there were."""
    with tempfile.TemporaryFile(prefix="forewarn-day-") as csv:
        with connection.cursor().copy(source.query(), asked) as out:
            for block in out:
                csv.write(block)
        size = csv.tell()
        csv.seek(0)
        rows = 0
        with pq.ParquetWriter(path, source.schema, compression="zstd", compression_level=1) as writer:
            for batch in _read_csv(csv, source) if size else ():
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def _read_csv(file: object, source: EventTable) -> pcsv.CSVStreamingReader:
    return pcsv.open_csv(
        file,
        read_options=pcsv.ReadOptions(column_names=source.schema.names, block_size=8 << 20),
        parse_options=pcsv.ParseOptions(newlines_in_values=True),
        convert_options=pcsv.ConvertOptions(
            column_types=source.schema, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )


@dg.asset_check(asset=raw_traces, partitions_def=DAYS, description="No span ends before it begins, none lasts a day.")
def durations_are_in_range(context: dg.AssetCheckExecutionContext, scope: TrainingScope) -> dg.AssetCheckResult:
    """A clock that jumped, or a unit that was taken for another, shows here."""
    history, bad, rows = scope.history(), 0, 0
    for key in context.partition_keys:
        path = history.event_file("raw_traces", date.fromisoformat(key))
        if path.exists():
            seconds = pq.read_table(path, columns=["duration_seconds"], partitioning=None).column(0).to_numpy()
            rows += len(seconds)
            bad += int((~((seconds >= 0) & (seconds < 86_400))).sum())
    return dg.AssetCheckResult(
        passed=bad == 0, severity=dg.AssetCheckSeverity.WARN, metadata={"spans": rows, "out of range": bad}
    )

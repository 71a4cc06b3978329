"""Which templates the log lines of a day have, and which of them are new."""

from datetime import date

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from forewarn.telemetry.connectors.templates import Template, Templates
from monitor_assets.history import History, write_parquet
from monitor_assets.ingestion.days import (
    DAYS,
    IN_TENS,
    RETRIES,
    DayDone,
    complete_before,
    days_asked,
    each_day,
    result_of,
)
from monitor_assets.ingestion.raw_events import raw_logs
from monitor_assets.scope import TrainingScope

NAME = "log_templates"
_ERRORS = ("ERROR", "FATAL")
_COLUMNS = ("id", "text", "severity", "count", "errors", "example", "first_seen", "last_seen")


@dg.asset(
    deps=[raw_logs],
    partitions_def=DAYS,
    backfill_policy=IN_TENS,
    retry_policy=RETRIES,
    group_name="telemetry",
    kinds={"drain3", "parquet"},
    owners=["team:forewarn"],
)
def log_templates(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Templates of each entity's lines of a day with their counts, by the same tree (drain3) as the connector's.

    Each day is learned anew: its templates do not depend on which days were done before. A template's id is that of
    its first line, so ids of two days can be compared as a whole only through the connector's table."""
    history = scope.history()
    done = each_day(context, days_asked(context) or [], lambda day: _of_day(history, day))
    return result_of(done, str(history.folder / NAME))


def _of_day(history: History, day: date) -> DayDone:
    known = complete_before(history, day, "raw_logs", NAME)
    if known is not None:
        return known
    source, path = history.event_file("raw_logs", day), history.event_file(NAME, day)
    trees: dict[str, Templates] = {}
    for batch in pq.ParquetFile(source).iter_batches(columns=["time", "entity", "severity", "body"]):
        _learn(trees, batch)
    found = [(entity, template) for entity, tree in sorted(trees.items()) for template in tree.touched_ones()]
    write_parquet(path, _table(found))
    return DayDone(day, len(found), True, {"entities": len(trees), "lines": sum(t.count for _, t in found)})


def _learn(trees: dict[str, Templates], batch: pa.RecordBatch) -> None:
    times = batch.column("time").cast(pa.int64()).to_pylist()
    for time, entity, severity, body in zip(times, *(batch.column(i).to_pylist() for i in (1, 2, 3)), strict=True):
        tree = trees.setdefault(entity, Templates())
        tree.learn(entity, body or "", severity or "", (severity or "").upper().startswith(_ERRORS), time * 1000)


def _table(found: list[tuple[str, Template]]) -> pa.Table:
    columns = {name: [getattr(template, name) for _, template in found] for name in _COLUMNS}
    times = {name: pa.array([at // 1000 for at in columns.pop(name)], pa.timestamp("us", tz="UTC"))
             for name in ("first_seen", "last_seen")}  # fmt: skip
    numbers = {name: pa.array(columns.pop(name), pa.int64()) for name in ("count", "errors")}
    texts = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return pa.table({"entity": pa.array([e for e, _ in found], pa.string()), **texts, **numbers, **times})

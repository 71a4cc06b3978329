"""Who called whom on a day, how often, how slowly and with how many errors, from spans."""

from datetime import date

import dagster as dg
import duckdb

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
from monitor_assets.ingestion.raw_events import raw_traces
from monitor_assets.scope import TrainingScope

NAME = "service_graph"
_EDGES = """
select p.entity as client, c.entity as server, count(*) as calls, sum(c.error)::bigint as errors,
       quantile_cont(c.duration_seconds, 0.5) as median_seconds, quantile_cont(c.duration_seconds, 0.99) as p99_seconds
from read_parquet($path) c join read_parquet($path) p on p.trace_id = c.trace_id and p.span_id = c.parent_span_id
where p.entity <> c.entity group by 1, 2 order by 1, 2
"""


@dg.asset(
    deps=[raw_traces],
    partitions_def=DAYS,
    backfill_policy=IN_TENS,
    retry_policy=RETRIES,
    group_name="telemetry",
    kinds={"duckdb", "parquet"},
    owners=["team:forewarn"],
)
def service_graph(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """An edge for each pair of entities of which one's span is the parent of the other's."""
    history = scope.history()
    done = each_day(context, days_asked(context) or [], lambda day: _of_day(history, day))
    return result_of(done, str(history.folder / NAME))


def _of_day(history: History, day: date) -> DayDone:
    known = complete_before(history, day, "raw_traces", NAME)
    if known is not None:
        return known
    source, path = history.event_file("raw_traces", day), history.event_file(NAME, day)
    with duckdb.connect() as connection:
        edges = connection.execute(_EDGES, {"path": str(source)}).to_arrow_table()
    write_parquet(path, edges)
    return DayDone(day, edges.num_rows, True)

"""What the archive holds around an incident: metrics, spans and log lines of some entities, never too many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from forewarn.telemetry.recording import Logs, Spans
from forewarn.telemetry.samples import Kind, SampleBatch, Series

if TYPE_CHECKING:
    from forewarn.incidents.causes.locate import Observed

MOST_SERIES, MOST_SPANS, MOST_LINES = 4_000, 60_000, 30_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is read: start <= time < stop, samples as means of cells of so many seconds."""

    start: datetime
    stop: datetime
    cell_seconds: float


def read_observed(
    connection: psycopg.Connection[Any], entities: Sequence[str], edges: Sequence[tuple[str, str]], stretch: Stretch
) -> "Observed":
    """Telemetry of these entities; of too many spans whole traces, of too many lines some are left out, evenly.

    Raises psycopg.Error, among them QueryCanceled where the connection's statement_timeout was too short.
    """
    from forewarn.incidents.causes import logs as log_lines  # pandas is heavy
    from forewarn.incidents.causes import spans
    from forewarn.incidents.causes.locate import Observed

    seen, lines = read_spans(connection, entities, stretch), read_logs(connection, entities, stretch)
    return Observed(
        read_metrics(connection, entities, stretch),
        tuple(edges),
        spans.visits(seen) if len(seen) else None,
        log_lines.lines(lines) if len(lines) else None,
    )


def read_metrics(connection: psycopg.Connection[Any], entities: Sequence[str], stretch: Stretch) -> SampleBatch:
    """Means of the cells; counters as their rate per second, which a restart leaves out."""
    found = connection.execute(_SERIES, (list(entities), MOST_SERIES)).fetchall()
    series = {n: Series(e, s, tuple(sorted(a.items())), Kind[k.upper()], u) for n, e, s, a, k, u in found}
    cell = timedelta(seconds=stretch.cell_seconds)
    rows = connection.execute(_SAMPLES, (cell, stretch.start, stretch.start, stretch.stop, list(series))).fetchall()
    index = np.searchsorted(numbers := np.array(sorted(series), np.int64), np.array([r[0] for r in rows], np.int64))
    times = np.array([round(float(r[1]) * 1e6) * 1_000 for r in rows], np.int64)
    values = np.array([r[2] for r in rows], np.float64)
    return _rates(SampleBatch(tuple(series[n] for n in numbers.tolist()), index.astype(np.int32), times, values))


def _rates(batch: SampleBatch) -> SampleBatch:
    """Counters as rates. Rows are by series, then time."""
    counter = np.array([s.kind is Kind.CUMULATIVE for s in batch.series], np.bool_)[batch.index]
    same = np.append(False, batch.index[1:] == batch.index[:-1])
    grown = np.diff(batch.values, prepend=np.nan)
    seconds = np.diff(batch.times, prepend=0) / 1e9
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(counter, grown / seconds, batch.values)
    kept = ~counter | (same & (grown >= 0))
    return SampleBatch(batch.series, batch.index[kept], batch.times[kept], values[kept])


def read_spans(connection: psycopg.Connection[Any], entities: Sequence[str], stretch: Stretch) -> Spans:
    """Spans in the order of their start."""
    rows = connection.execute(_SPANS, _thinned(connection, "spans", entities, stretch, MOST_SPANS)).fetchall()
    names, index = np.unique(np.array([r[1] for r in rows], object).astype(str), return_inverse=True)
    return Spans(
        entities=tuple(names.tolist()),
        index=index.astype(np.int32),
        starts=np.array([round(float(r[0]) * 1e6) * 1_000 for r in rows], np.int64),
        durations=np.array([r[3] for r in rows], np.float64),
        trace_ids=np.array([r[5] for r in rows], "S32"),
        span_ids=np.array([r[6] for r in rows], "S16"),
        parent_span_ids=np.array([r[7] or "" for r in rows], "S16"),
        operations=np.array([r[2] for r in rows], object),
        kinds=np.full(len(rows), "", object),
        errors=np.array([r[4] for r in rows], np.bool_),
    )


def read_logs(connection: psycopg.Connection[Any], entities: Sequence[str], stretch: Stretch) -> Logs:
    """Lines in event-time order; none where logs go to Loki."""
    rows = connection.execute(_LINES, _thinned(connection, "log_records", entities, stretch, MOST_LINES)).fetchall()
    names, index = np.unique(np.array([r[1] for r in rows], object).astype(str), return_inverse=True)
    none = [""] * len(rows)
    times = np.array([round(float(r[0]) * 1e6) * 1_000 for r in rows], np.int64)
    severities, bodies = [r[2] for r in rows], [r[3] for r in rows]
    return Logs(tuple(names.tolist()), index.astype(np.int32), times, severities, bodies, none, none, [])


def _thinned(
    connection: psycopg.Connection[Any], table: str, entities: Sequence[str], stretch: Stretch, most: int
) -> tuple[list[str], datetime, datetime, int]:
    """Parameters of a query that takes about `most` rows: the share of 256 that is kept."""
    window = (list(entities), stretch.start, stretch.stop)
    count = connection.execute(_COUNT[table], window).fetchone()
    rows = int(count[0]) if count else 0
    return (*window, 256 if rows <= most else max(256 * most // rows, 1))


_SERIES = b"""
select series_id, entity, signal, attributes, kind, unit from metric_series
where entity = any(%s) and not starts_with(signal, 'log.template.rate') order by entity, name limit %s
"""

_SAMPLES = b"""
select series_id, extract(epoch from date_bin(%s, time, %s)), avg(value) from metric_samples
where time >= %s and time < %s and series_id = any(%s) and value <> 'NaN' group by 1, 2 order by 1, 2
"""

_COUNT = {
    "spans": b"select count(*) from spans where entity = any(%s) and time >= %s and time < %s",
    "log_records": b"select count(*) from log_records where entity = any(%s) and time >= %s and time < %s",
}

_SPANS = b"""
select extract(epoch from time), entity, operation, duration_seconds, error,
       encode(trace_id, 'hex'), encode(span_id, 'hex'), encode(parent_span_id, 'hex')
from spans where entity = any(%s) and time >= %s and time < %s
and get_byte(trace_id, octet_length(trace_id) - 1) < %s order by time
"""

_LINES = b"""
select extract(epoch from time), entity, severity, left(body, 500) from log_records
where entity = any(%s) and time >= %s and time < %s
and mod(extract(microseconds from time)::bigint, 256) < %s order by time
"""

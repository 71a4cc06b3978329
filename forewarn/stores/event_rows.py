"""Logs, spans, activity and the edges of the service graph into PostgreSQL, in a transaction of the caller's."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.otlp_logs import LogRecord
from forewarn.telemetry.otlp_traces import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UPSERT_EDGES = """
insert into service_edges (client, server, calls, errors, last_seen)
select * from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[])
on conflict (client, server) do update
set calls = service_edges.calls + excluded.calls, errors = service_edges.errors + excluded.errors,
    last_seen = greatest(service_edges.last_seen, excluded.last_seen)
"""


@dataclass(slots=True)
class Calls:
    """What was seen of an edge of the service graph: counts, and when (nanoseconds since 1970)."""

    calls: int
    errors: int
    last_seen: int


def copy_logs(connection: psycopg.Connection, records: Iterable[LogRecord]) -> None:
    """Append log records."""
    rows = (
        (_time(r.time), r.entity, r.severity, r.body, json.dumps(r.attributes, ensure_ascii=False)) for r in records
    )
    _copy(connection, "copy log_records (time, entity, severity, body, attributes) from stdin", rows)


def copy_spans(connection: psycopg.Connection, spans: Iterable[Span]) -> None:
    """Append spans."""
    rows = ((_time(s.start), *_ids(s), s.entity, s.operation, s.duration_seconds, s.error) for s in spans)
    columns = "time, trace_id, span_id, parent_span_id, entity, operation, duration_seconds, error"
    _copy(connection, f"copy spans ({columns}) from stdin", rows)


def copy_activity(connection: psycopg.Connection, events: Iterable[ActivityEvent]) -> None:
    """Append activity events."""
    rows = ((e.time, e.service, e.action, e.user_hash, e.count) for e in events)
    _copy(connection, "copy activity_events (time, service, action, user_hash, count) from stdin", rows)


def add_edges(connection: psycopg.Connection, edges: dict[tuple[str, str], Calls]) -> None:
    """Add to the counts of the edges (client, server)."""
    if not edges:
        return
    rows = sorted(edges.items())  # one order everywhere: no deadlock
    connection.execute(
        _UPSERT_EDGES,
        (
            [client for (client, _), _ in rows],
            [server for (_, server), _ in rows],
            [calls.calls for _, calls in rows],
            [calls.errors for _, calls in rows],
            [_time(calls.last_seen) for _, calls in rows],
        ),
    )


def _copy(connection: psycopg.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _ids(span: Span) -> tuple[bytes, bytes, bytes | None]:
    return span.trace_id, span.span_id, span.parent_span_id or None


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)

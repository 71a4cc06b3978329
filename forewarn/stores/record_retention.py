"""What is deleted of tables that no day of samples bounds, and for every table what keeps it small."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from forewarn.incidents.episodes import OPEN_STATES

HEALTH_KEPT = timedelta(days=90)
PROCESSES_KEPT = timedelta(days=30)
_AT_ONCE = 10_000  # rows in a transaction: nobody waits long for a lock

# What keeps each table bounded; docs/data-formats.md says the same, and a test that no table is forgotten.
SAMPLES, ROLLUPS, RECORDS, HEALTH = "retention_days", "rollup_retention_days", "record_retention_days", "90 days"
BOUNDS: dict[str, str] = {
    **dict.fromkeys(("metric_samples", "log_records", "spans", "activity_events"), SAMPLES),
    **dict.fromkeys(("metric_rollups_5m", "metric_rollups_1h", "metric_series", "log_templates"), ROLLUPS),
    **dict.fromkeys(("service_edges", "anomalies", "abstentions", "abstention_history"), ROLLUPS),
    **dict.fromkeys(("risks", "outcomes", "failures", "feedback", "audit", "reports", "smoke_results"), RECORDS),
    **dict.fromkeys(("incidents", "incident_history", "incident_causes", "incident_episodes", "outbox"), RECORDS),
    **dict.fromkeys(("responses", "silences", "maintenance_windows", "api_tokens", "alarm_control"), RECORDS),
    **dict.fromkeys(("model_health", "shadow_predictions"), HEALTH),
    "service_status": "30 days",
    "rollup_pending": "cells that wait to be rolled up",
    "consumer_offsets": "one row a partition and reader",
    "connector_states": "what is counted now",
    "capacity_forecasts": "one row a signal with a limit",
    "watermarks": "one row a namespace",
    "rule_states": "rules that hold now",
    "imported_spans": "one row a gapless import",
    "model_versions": "one row a training",
    "schema_revision": "one row",
}


_RISKS = """
with old as (
    select o.risk_id from outcomes o join risks r using (risk_id) where r.recorded_at < %(before)s limit %(at_once)s
), resolved as (
    delete from outcomes where risk_id in (select risk_id from old) returning risk_id
)
delete from risks where risk_id in (select risk_id from resolved)
"""
_ALONE = "not exists (select from incidents i where i.incident_id = t.incident_id)"
# Table and which rows `t` of it go. Incidents go first, then what belongs to them.
_RECORDS = (
    ("risks", "recorded_at < %(before)s - interval '1 year' and not exists (select from outcomes o"
              " where o.risk_id = t.risk_id)"),  # an alerter that was away may still resolve it
    ("failures", "recorded_at < %(before)s"),
    ("incidents", "state <> all(%(open)s) and not exists (select from incident_history h"
                  " where h.incident_id = t.incident_id and h.recorded_at >= %(before)s)"),
    ("incident_history", f"recorded_at < %(before)s and published and {_ALONE}"),
    ("incident_causes", f"looked_at < %(before)s and {_ALONE}"),
    ("incident_episodes", "not exists (select from incidents i where i.incident_id = t.incident_id)"
                          " and not exists (select from risks r where r.episode = t.episode)"
                          " and not exists (select from failures f where f.episode = t.episode)"),
    ("outbox", f"created_at < %(before)s and {_ALONE}"),
    ("responses", f"proposed_at < %(before)s and {_ALONE}"),
    ("feedback", "given_at < %(before)s and handled"),
    ("silences", "ends_at < %(before)s"),
    ("maintenance_windows", "ended_at < %(before)s"),
    ("api_tokens", "coalesce(revoked_at, expires_at) < %(before)s"),
    ("alarm_control", "at < %(before)s and control_id < (select max(control_id) from alarm_control)"),
    ("smoke_results", "at < %(before)s"),
    ("audit", "at < %(before)s"),
)  # fmt: skip
# A recording of long ago that is replayed is as old as its namespace's clock says.
_CLOCK = (
    "(select least(w.at, now()) from watermarks w where w.namespace = case when strpos(t.{entity}, '/') > 0"
    " then split_part(t.{entity}, '/', 1) else '' end)"
)
_DERIVED = tuple(
    (table, f"{time} < %(before)s - (now() - coalesce({_CLOCK.format(entity=entity)}, now()))")
    for table, time, entity in (
        ("anomalies", "since", "entity"),
        ("abstentions", "at", "entity"),
        ("abstention_history", "time", "entity"),
        ("log_templates", "last_seen", "entity"),
        ("service_edges", "last_seen", "client"),
    )
)
# A writer that may still hold a number asked for it today or yesterday (forewarn/stores/metric_series.py).
_SERIES = (
    "seen_on < current_date - 7"
    " and not exists (select from metric_rollups_1h r where r.series_id = t.series_id)"
    " and not exists (select from metric_rollups_5m r where r.series_id = t.series_id)"
    " and not exists (select from metric_samples m where m.series_id = t.series_id)"
)


def delete_records(connection: psycopg.Connection, before: datetime) -> int:
    """Delete what was recorded before `before` and is over; how many rows. Raises psycopg.Error."""
    values = {"before": before, "open": list(OPEN_STATES)}
    rows = _repeat(connection, _RISKS, values)
    return rows + sum(_delete(connection, table, where, values) for table, where in _RECORDS)


def delete_reports(connection: psycopg.Connection, before: datetime) -> list[str]:
    """Forget reports made before `before`; their paths below FOREWARN_HOME."""
    with connection.transaction():
        rows = connection.execute("delete from reports where created_at < %s returning path", (before,)).fetchall()
    return [str(path) for (path,) in rows]


def delete_derived(connection: psycopg.Connection, before: datetime) -> int:
    """Delete what telemetry before `before` made; how many rows.

    `before` is meant for a namespace whose event clock is now; where it lags, as in a replay, it lies as much earlier.
    """
    return sum(_delete(connection, table, where, {"before": before}) for table, where in _DERIVED)


def delete_unused(connection: psycopg.Connection, now: datetime | None = None) -> int:
    """Delete series of which nothing is kept, health of models and rows of processes that are long over; how many."""
    now = now or datetime.now(UTC)
    old = {"before": now - HEALTH_KEPT}
    return (
        _delete(connection, "metric_series", _SERIES, {})
        + _delete(connection, "model_health", "minute < %(before)s", old)
        + _delete(connection, "shadow_predictions", "recorded_at < %(before)s", old)
        + _delete(connection, "service_status", "seen_at < %(before)s", {"before": now - PROCESSES_KEPT})
    )


def _delete(connection: psycopg.Connection, table: str, where: str, values: dict[str, Any]) -> int:
    rows = sql.SQL("select ctid from {} t where {} limit %(at_once)s")
    chosen = rows.format(sql.Identifier(table), sql.SQL(where))
    query = sql.SQL("delete from {} where ctid = any(array({}))").format(sql.Identifier(table), chosen)
    return _repeat(connection, query, values)


def _repeat(connection: psycopg.Connection, query: str | sql.Composed, values: dict[str, Any]) -> int:
    """Run a deletion of at most so many rows, each time in a transaction of its own, until nothing is left."""
    total = 0
    while True:
        with connection.transaction():
            text = query.encode() if isinstance(query, str) else query
            count = connection.execute(text, {**values, "at_once": _AT_ONCE}).rowcount
        total += count
        if count < _AT_ONCE:
            return total

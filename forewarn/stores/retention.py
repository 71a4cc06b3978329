"""What is older than it is kept: days of samples are dropped whole, rows of other tables deleted."""

from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from psycopg import sql

from forewarn.stores.locks import Lock
from forewarn.stores.rollups import WIDTHS

logger = structlog.get_logger(__name__)

_EVENTS = ("log_records", "spans", "activity_events")
_DAYS = """
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'metric_samples'::regclass and c.relname ~ '^metric_samples_[0-9]{8}$'
  and to_date(right(c.relname, 8), 'YYYYMMDD') < %s::date
  and not exists (
    select from rollup_pending p where (p.cell at time zone 'UTC')::date = to_date(right(c.relname, 8), 'YYYYMMDD'))
order by 1
"""
_HYPERTABLE = "select relkind <> 'p' from pg_class where oid = 'metric_samples'::regclass"
_TIMESCALE = "select 1 from pg_extension where extname = 'timescaledb'"


def cutoff(days: int, now: datetime | None = None) -> datetime | None:
    """Midnight (UTC) before which nothing is kept; None where all is (0 days)."""
    now = now or datetime.now(UTC)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days) if days else None


def drop_days(connection: psycopg.Connection, before: datetime) -> list[str]:
    """Drop the days of samples that lie before `before` and are rolled up; returns their partitions.

    Waits at most two seconds for a table: what is in use is dropped next time. A hypertable of TimescaleDB drops its
    chunks. Raises psycopg.Error.
    """
    if _is_hypertable(connection):
        rows = connection.execute("select drop_chunks('metric_samples', %s)::text", (before,)).fetchall()
        connection.commit()
        return [name for (name,) in rows]
    names = [name for (name,) in connection.execute(_DAYS, (before,)).fetchall()]
    connection.commit()
    return [name for name in names if _drop(connection, name)]


def delete_events(connection: psycopg.Connection, before: datetime) -> int:
    """Delete logs, spans and activity before `before`; returns how many rows."""
    return sum(_delete(connection, table, before) for table in _EVENTS)


def delete_rollups(connection: psycopg.Connection, before: datetime) -> int:
    """Delete roll-ups before `before`; returns how many rows."""
    return sum(_delete(connection, table, before) for table in WIDTHS.values())


def _is_hypertable(connection: psycopg.Connection) -> bool:
    plain = connection.execute(_HYPERTABLE).fetchone()
    return bool(plain and plain[0]) and connection.execute(_TIMESCALE).fetchone() is not None


def _drop(connection: psycopg.Connection, name: str) -> bool:
    try:
        with connection.transaction():
            connection.execute("set local lock_timeout = '2s'")
            connection.execute("select pg_advisory_xact_lock(%s)", (Lock.MAKE_PARTITION.value,))
            connection.execute(sql.SQL("drop table {}").format(sql.Identifier(name)))
    except psycopg.errors.LockNotAvailable:
        logger.info("a day of samples is in use, it is dropped later", partition=name)
        return False
    return True


def _delete(connection: psycopg.Connection, table: str, before: datetime) -> int:
    with connection.transaction():
        return connection.execute(
            sql.SQL("delete from {} where time < %s").format(sql.Identifier(table)), (before,)
        ).rowcount

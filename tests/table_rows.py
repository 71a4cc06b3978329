"""A row in every table, whatever its columns: for tests of upgrades, back-ups and retention."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

MARCH = datetime(2026, 3, 12, 14, tzinfo=UTC)
_COLUMNS = """
select column_name, data_type from information_schema.columns
where table_schema = current_schema() and table_name = %s and is_identity = 'NO'
"""


def table_names(connection: psycopg.Connection) -> set[str]:
    """Our tables without the mark of the revision and without partitions."""
    rows = connection.execute(
        "select c.relname from pg_class c where relnamespace = current_schema()::regnamespace"
        " and relkind in ('r', 'p') and not relispartition"
    ).fetchall()
    return {name for (name,) in rows} - {"schema_revision"}


def fill_all(connection: psycopg.Connection, at: datetime = MARCH, **columns: Any) -> set[str]:
    """Put one row into every table, all times `at`, all ids the same; columns: other values by
    name or table__name; the tables."""
    day, next_day = at.date(), at.date() + timedelta(days=1)
    connection.execute(
        sql.SQL("create table if not exists {} partition of metric_samples for values from ({}) to ({})").format(
            sql.Identifier(f"metric_samples_{day:%Y%m%d}"), f"{day} 00:00+00", f"{next_day} 00:00+00"
        )
    )  # fmt: skip
    names = table_names(connection)
    for table in ("risks", *sorted(names - {"risks"})):
        _fill(connection, table, at, columns)
    return names


def _fill(connection: psycopg.Connection, table: str, at: datetime, told: dict[str, Any]) -> None:
    values = {
        "text": "shop/api", "bigint": 7, "integer": 7, "double precision": 0.5, "boolean": True, "bytea": b"\x01",
        "uuid": "6f1c8a52-0000-4000-8000-000000000001", "jsonb": '{"a": 1}', "ARRAY": ["write"],
        "timestamp with time zone": at, "date": at.date(),
    }  # fmt: skip
    columns = connection.execute(_COLUMNS, (table,)).fetchall()
    connection.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
            sql.SQL(", ").join(sql.Placeholder() for _ in columns),
        ),
        [told.get(f"{table}__{name}", told.get(name, values[kind])) for name, kind in columns],
    )


def count_all(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of each of our tables."""
    return {
        table: (
            connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone() or (0,)
        )[0]
        for table in table_names(connection)
    }

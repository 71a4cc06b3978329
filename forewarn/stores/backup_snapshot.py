"""Saves our tables with pg_dump, as they are at one moment while the stack goes on."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from forewarn.stores.backup_archive import BackupError
from forewarn.stores.backup_programs import Program, running, without_password
from forewarn.stores.locks import Lock
from forewarn.stores.schema import require_known, state_of

MLFLOW = "mlflow"
TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in (current_schema(), %s) order by 1, 2
"""
_HYPERTABLE = """
select exists (select from pg_extension where extname = 'timescaledb')
   and exists (select from pg_class where oid = to_regclass('metric_samples') and relkind = 'r')
"""


@dataclass(frozen=True)
class Snapshot:
    """What stands in the database at one time; held open while it is read."""

    connection: psycopg.Connection
    name: str
    server: int
    schema: str
    revision: str | None
    tables: dict[str, int]
    models: tuple[str, ...]


@contextmanager
def snapshot(postgres_url: str) -> Iterator[Snapshot]:
    """A view of the database that stays the same while the stack goes on. Raises BackupError, psycopg.Error."""
    address = make_conninfo(postgres_url, connect_timeout=10, application_name="backup")
    with psycopg.connect(address, autocommit=True) as connection:
        state = state_of(connection)
        if state.fresh:
            raise BackupError("the database holds no tables of Forewarn: is it the right one (FOREWARN_POSTGRES_URL)?")
        require_known(state)
        if (connection.execute(_HYPERTABLE).fetchone() or (False,))[0]:
            raise BackupError(
                "metric_samples is a hypertable of TimescaleDB, whose chunks need pg_dump of the whole database: see "
                "docs/backup.md, and save all else with `forewarn backup --without database`"
            )
        connection.execute("set idle_in_transaction_session_timeout = 0")
        # No day of samples may go between the list of tables and the locks on them.
        connection.execute("select pg_advisory_lock(%s)", (Lock.MAKE_PARTITION,))
        connection.execute("begin isolation level repeatable read read only")
        tables = _locked_tables(connection)
        connection.execute("select pg_advisory_unlock(%s)", (Lock.MAKE_PARTITION,))
        yield Snapshot(
            connection,
            name=_one(connection, "select pg_export_snapshot()"),
            server=connection.info.server_version // 10_000,
            schema=_one(connection, "select current_schema()"),
            revision=state.revision,
            tables={f"{schema}.{table}": count_rows(connection, schema, table) for schema, table in tables},
            models=_models(connection),
        )


def _locked_tables(connection: psycopg.Connection) -> list[tuple[str, str]]:
    tables = [(str(schema), str(table)) for schema, table in connection.execute(TABLES, (MLFLOW,)).fetchall()]
    names = sql.SQL(", ").join(sql.Identifier(*each) for each in tables)
    connection.execute(sql.SQL("lock table {} in access share mode").format(names))
    return tables


def _one(connection: psycopg.Connection, query: str) -> str:
    return str((connection.execute(query.encode()).fetchone() or ("",))[0])


def count_rows(connection: psycopg.Connection, schema: str, table: str) -> int:
    """Rows of a table."""
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    return int((connection.execute(query).fetchone() or (0,))[0])


def _models(connection: psycopg.Connection) -> tuple[str, ...]:
    rows = connection.execute("select version from model_versions order by trained_at").fetchall()
    return tuple(str(version) for (version,) in rows)


@contextmanager
def dumping(dumper: Program, view: Snapshot, postgres_url: str) -> Iterator[IO[bytes]]:
    """pg_dump's output, custom format, of the snapshot. Raises BackupError where it fails."""
    command = [
        dumper.path, "--format=custom", f"--snapshot={view.name}", "--no-owner", "--no-privileges",
        f"--schema={_pattern(view.schema)}", f"--schema={MLFLOW}", "--dbname", without_password(postgres_url),
    ]  # fmt: skip
    with TemporaryFile() as told, running(command, postgres_url, told, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
        if process.wait():
            told.seek(0)
            raise BackupError(f"pg_dump ended with status {process.returncode}: {told.read().decode().strip()}")


def _pattern(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

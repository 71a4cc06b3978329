"""Saves our tables with pg_dump from one snapshot; loads them beside what is there, then lets them take its place."""

import contextlib
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from forewarn.stores.backup_archive import BackupError, Manifest, Progress
from forewarn.stores.locks import Lock
from forewarn.stores.schema import create_tables, require_known, state_of

MLFLOW = "mlflow"
_CHUNK = 1 << 20
_TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in (current_schema(), %s) order by 1, 2
"""
_HYPERTABLE = """
select exists (select from pg_extension where extname = 'timescaledb')
   and exists (select from pg_class where oid = to_regclass('metric_samples') and relkind = 'r')
"""
# What processes write by themselves when they start: a database with nothing but this is empty.
_OF_PROCESSES = {"schema_revision", "service_status", "consumer_offsets", "watermarks", "rollup_pending"}
_TELLING = ("risks", "incidents", "model_versions", "metric_series")  # named first
_OTHERS = """
select coalesce(nullif(application_name, ''), usename) from pg_stat_activity
where datname = %s and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
_ARTIFACTS = """
select table_name, column_name from information_schema.columns
where table_schema = %s and column_name in ('artifact_location', 'artifact_uri', 'source', 'storage_location')
"""
_UNKNOWN_SETTING = 'unrecognized configuration parameter "transaction_timeout"'  # pg_restore 17 on an older server


@dataclass(frozen=True)
class Program:
    """pg_dump or pg_restore."""

    path: str
    major: int


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


def program(name: str, at_least: int, folders: Sequence[Path]) -> Program:
    """pg_dump or pg_restore of this major version of PostgreSQL, else the oldest newer one.

    folders: where to look beside PATH and Debian's. Raises BackupError where there is none.
    """
    places = [*folders, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    paths = [str(place / name) for place in places if (place / name).is_file()] + [shutil.which(name) or ""]
    found = [Program(path, _major(path)) for path in paths if path]
    fitting = [each for each in found if each.major >= at_least]
    if not fitting:
        there = ", ".join(f"{each.path} ({each.major})" for each in found) or "none"
        raise BackupError(f"{name} of PostgreSQL {at_least} or newer is needed; there is {there}: install its client")
    return min(fitting, key=lambda each: each.major)


def _major(path: str) -> int:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)[.\d]*", told)
    return int(number[1]) if number else 0


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
            tables={f"{schema}.{table}": _count(connection, schema, table) for schema, table in tables},
            models=_models(connection),
        )


def _locked_tables(connection: psycopg.Connection) -> list[tuple[str, str]]:
    tables = [(str(schema), str(table)) for schema, table in connection.execute(_TABLES, (MLFLOW,)).fetchall()]
    names = sql.SQL(", ").join(sql.Identifier(*each) for each in tables)
    connection.execute(sql.SQL("lock table {} in access share mode").format(names))
    return tables


def _one(connection: psycopg.Connection, query: str) -> str:
    return str((connection.execute(query.encode()).fetchone() or ("",))[0])


def _count(connection: psycopg.Connection, schema: str, table: str) -> int:
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
        f"--schema={_pattern(view.schema)}", f"--schema={MLFLOW}", "--dbname", _without_password(postgres_url),
    ]  # fmt: skip
    with TemporaryFile() as told, _running(command, postgres_url, told, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
        if process.wait():
            told.seek(0)
            raise BackupError(f"pg_dump ended with status {process.returncode}: {told.read().decode().strip()}")


def _pattern(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _running(
    command: list[str], postgres_url: str, errors: IO[bytes], stdin: int | None = None, stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that is ended with the block. The password goes by its environment: command lines can be read."""
    password = conninfo_to_dict(postgres_url).get("password")
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {}), "PGAPPNAME": "backup"}
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=errors, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _without_password(postgres_url: str) -> str:
    parts = {key: value for key, value in conninfo_to_dict(postgres_url).items() if key != "password"}
    return make_conninfo("", **parts)


def holdings(postgres_url: str) -> list[str]:
    """Tables with rows that a restore would replace; empty where there is no database, no table, or no row.

    Raises psycopg.OperationalError where no server answers.
    """
    try:
        with psycopg.connect(postgres_url, connect_timeout=10, autocommit=True) as connection:
            tables = connection.execute(_TABLES, (None,)).fetchall()
            return [
                table for schema, table in tables if table not in _OF_PROCESSES and _has_rows(connection, schema, table)
            ]
    except psycopg.OperationalError as error:
        if "does not exist" in str(error):
            return []
        raise


def _has_rows(connection: psycopg.Connection, schema: str, table: str) -> bool:
    query = sql.SQL("select exists (select from {})").format(sql.Identifier(schema, table))
    return bool((connection.execute(query).fetchone() or (False,))[0])


def users(postgres_url: str) -> list[str]:
    """Who else is connected to the database now. Raises psycopg.OperationalError."""
    name = str(conninfo_to_dict(postgres_url)["dbname"])
    with _server(postgres_url) as admin:
        return sorted({who for (who,) in admin.execute(_OTHERS, (name,)).fetchall()})


@contextmanager
def _server(postgres_url: str) -> Iterator[psycopg.Connection]:
    admin = make_conninfo(postgres_url, dbname="postgres", connect_timeout=10)
    with psycopg.connect(admin, autocommit=True) as connection:
        yield connection


@contextmanager
def beside(postgres_url: str) -> Iterator[str]:
    """Address of an empty database beside ours; what is left of it when the block ends is dropped."""
    name = f"forewarn_restoring_{uuid.uuid4().hex[:12]}"
    with _server(postgres_url) as admin:
        try:
            admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise BackupError(
                "the role may not create a database, and a restore is made beside the one that is there: "
                "let it (alter role … createdb), or restore as a superuser"
            ) from None
        try:
            yield make_conninfo(postgres_url, dbname=name)
        finally:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def load(restorer: Program, dump: IO[bytes], manifest: Manifest, scratch_url: str, progress: Progress) -> None:
    """Load a dump into an empty database, compare every table's rows with the manifest, upgrade it to this code.

    Raises BackupError, psycopg.Error.
    """
    with psycopg.connect(scratch_url, autocommit=True) as connection:
        connection.execute("drop schema if exists public cascade")  # the dump makes it
    errors = _feed(restorer, dump, scratch_url, progress)
    if errors:
        raise BackupError(f"pg_restore: {errors[0]}" + (f" (and {len(errors) - 1} more)" if errors[1:] else ""))
    with psycopg.connect(scratch_url, autocommit=True) as connection:
        connection.execute("create schema if not exists public")
    _compare(scratch_url, manifest)
    create_tables(scratch_url)


def _feed(restorer: Program, dump: IO[bytes], url: str, progress: Progress) -> list[str]:
    command = [restorer.path, "--no-owner", "--no-privileges", "--dbname", _without_password(url)]
    with TemporaryFile() as told, _running(command, url, told, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it says why
            while chunk := dump.read(_CHUNK):
                process.stdin.write(chunk)
                progress("database", len(chunk))
            process.stdin.close()
        process.wait()
        told.seek(0)
        lines = [line for line in told.read().decode(errors="replace").splitlines() if "error:" in line]
    serious = [line.partition("error:")[2].strip() for line in lines if _UNKNOWN_SETTING not in line]
    return serious or ([f"ended with status {process.returncode}"] if process.returncode and not lines else [])


def _compare(url: str, manifest: Manifest) -> None:
    with psycopg.connect(url) as connection:
        found = {
            f"{schema}.{table}": _count(connection, schema, table)
            for schema, table in connection.execute(_TABLES, (MLFLOW,)).fetchall()
        }
    if found != manifest.tables:
        wrong = sorted(name for name in found.keys() | manifest.tables if found.get(name) != manifest.tables.get(name))
        told = ", ".join(f"{n}: {found.get(n, 'missing')} of {manifest.tables.get(n, 'none')}" for n in wrong[:3])
        raise BackupError(f"not all rows came back ({told}): the database that was there is untouched")


def move_artifacts(postgres_url: str, old_home: Path, new_home: Path) -> None:
    """Let MLflow find its files below the new home: it keeps their whole addresses. Raises psycopg.Error."""
    old, new = ((home / MLFLOW).as_uri() for home in (old_home, new_home))
    with psycopg.connect(postgres_url) as connection:
        for table, column in connection.execute(_ARTIFACTS, (MLFLOW,)).fetchall():
            query = sql.SQL("update {t} set {c} = %(new)s || substr({c}, %(length)s) where starts_with({c}, %(old)s)")
            names = {"t": sql.Identifier(MLFLOW, table), "c": sql.Identifier(column)}
            connection.execute(query.format(**names), {"new": new, "old": f"{old}/", "length": len(old) + 1})


def take_place(scratch_url: str, postgres_url: str, keep_old: bool) -> str | None:
    """Let the restored database take the name of ours; the name that the old one has now, None where none was kept.

    Raises psycopg.errors.ObjectInUse where somebody is connected to it.
    """
    new, ours = (str(conninfo_to_dict(url)["dbname"]) for url in (scratch_url, postgres_url))
    old = f"{ours}_before_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    rename = sql.SQL("alter database {} rename to {}")
    with _server(postgres_url) as admin:
        was_there = admin.execute("select 1 from pg_database where datname = %s", (ours,)).fetchone() is not None
        if was_there:
            admin.execute(rename.format(sql.Identifier(ours), sql.Identifier(old)))
        try:
            admin.execute(rename.format(sql.Identifier(new), sql.Identifier(ours)))
        except psycopg.Error:
            if was_there:
                admin.execute(rename.format(sql.Identifier(old), sql.Identifier(ours)))
            raise
        if was_there and not keep_old:
            admin.execute(sql.SQL("drop database {}").format(sql.Identifier(old)))
    return old if was_there and keep_old else None

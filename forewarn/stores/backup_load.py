"""Loads a dump into a database beside ours, compares it, and lets it take our database's place."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from forewarn.stores.backup_archive import BackupError, Manifest, Progress
from forewarn.stores.backup_programs import Program, running, without_password
from forewarn.stores.backup_snapshot import MLFLOW, TABLES, count_rows
from forewarn.stores.schema import create_tables

_CHUNK = 1 << 20
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


def holdings(postgres_url: str) -> list[str]:
    """Tables with rows that a restore would replace; empty where there is no database, no table, or no row.

    Raises psycopg.OperationalError where no server answers.
    """
    try:
        with psycopg.connect(postgres_url, connect_timeout=10, autocommit=True) as connection:
            tables = connection.execute(TABLES, (None,)).fetchall()
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
    command = [restorer.path, "--no-owner", "--no-privileges", "--dbname", without_password(url)]
    with TemporaryFile() as told, running(command, url, told, stdin=subprocess.PIPE) as process:
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
            f"{schema}.{table}": count_rows(connection, schema, table)
            for schema, table in connection.execute(TABLES, (MLFLOW,)).fetchall()
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

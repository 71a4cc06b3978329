"""Brings a database to the tables of this code: a fresh one by `schema.sql`, an older one by Alembic's revisions."""

import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg
import structlog

import forewarn
from forewarn.stores.locks import Lock

logger = structlog.get_logger(__name__)

VERSIONS = Path(__file__).parent / "migrations" / "versions"
_THERE = "select to_regclass('schema_revision') is not null, to_regclass('metric_series') is not null"
_MARK = "insert into schema_revision (version_num) values (%s)"
_WAIT_SECONDS = 0.1


class SchemaIsNewerError(RuntimeError):
    """The database was upgraded by a newer Forewarn; the message says to which revision, and what to do."""


@dataclass(frozen=True)
class SchemaState:
    """Where a database stands. `revision` is None before there were revisions, and in a fresh one."""

    fresh: bool
    revision: str | None


def create_tables(postgres_url: str, versions: Path = VERSIONS) -> str | None:
    """Make or upgrade the tables where they are not those of this code; the revision it came to, None: was there.

    Safe to call from every process at start: one works, the others wait for it. Raises psycopg.OperationalError where
    the server cannot be reached or a table stays in use, SchemaIsNewerError where the database is ahead of this code.
    """
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        newest = known_revisions(versions)[-1]
        if state_of(connection).revision == newest:
            return None
        _take_lock(connection)
        return newest if _bring_to(newest, connection, postgres_url, versions) else None


def known_revisions(versions: Path = VERSIONS) -> list[str]:
    """The revisions that this code knows, oldest first: the numbers in the names of their modules."""
    return sorted(path.name[1:].partition("_")[0] for path in versions.glob("r[0-9]*.py"))


def state_of(connection: psycopg.Connection) -> SchemaState:
    """Which revision the database has. Raises psycopg.Error."""
    marked, made = connection.execute(_THERE).fetchone() or (False, False)
    row = connection.execute("select version_num from schema_revision").fetchone() if marked else None
    return SchemaState(fresh=not made, revision=row[0] if row else None)


def pending_sql(state: SchemaState, versions: Path = VERSIONS) -> str:
    """What `create_tables` would run in such a database. Raises SchemaIsNewerError."""
    require_known(state, versions)
    newest = known_revisions(versions)[-1]
    if state.revision == newest:
        return ""
    if state.fresh:
        return f"{_schema().decode()}\n{_MARK.replace('%s', repr(newest))};\n"
    from forewarn.stores.migrations.upgrade import statements

    return statements(versions, state.revision)


def require_known(state: SchemaState, versions: Path = VERSIONS) -> None:
    """Raises SchemaIsNewerError where this code does not know the database's revision."""
    known = known_revisions(versions)
    if state.revision is not None and state.revision not in known:
        raise SchemaIsNewerError(
            f"the database is at revision {state.revision}, this Forewarn ({forewarn.__version__}) knows revisions up "
            f"to {known[-1]}: run the release that upgraded it, or restore a backup from before (docs/upgrading.md)"
        )


def _bring_to(newest: str, connection: psycopg.Connection, postgres_url: str, versions: Path) -> bool:
    state = state_of(connection)
    if state.revision == newest:  # by whoever had the lock before
        return False
    require_known(state, versions)
    if state.fresh and versions == VERSIONS:
        with connection.transaction():
            connection.execute(_schema())
            connection.execute(_MARK, (newest,))
        return True
    from forewarn.stores.migrations.upgrade import upgrade

    logger.info("upgrading the database's tables", revision=state.revision or "before revisions", to=newest)
    upgrade(postgres_url, versions)
    return True


def _schema() -> bytes:
    return resources.files("forewarn.stores").joinpath("schema.sql").read_bytes()


def _take_lock(connection: psycopg.Connection) -> None:
    """Hold the lock until the connection ends."""
    # Asked again and again, not waited for: a statement that waits would hold up `create index concurrently`.
    told = False
    while not (connection.execute("select pg_try_advisory_lock(%s)", (Lock.CREATE_TABLES,)).fetchone() or (0,))[0]:
        if not told:
            logger.info("another process makes or upgrades the database's tables: waiting for it")
            told = True
        time.sleep(_WAIT_SECONDS)

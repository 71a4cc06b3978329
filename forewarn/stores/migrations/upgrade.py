"""Runs revisions with Alembic; imported only where there is something to upgrade, for Alembic loads slowly."""

import io
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

FOLDER = Path(__file__).parent
_LOCK_TIMEOUT = "10s"  # a revision that waits for a table holds up all who come after it


def upgrade(postgres_url: str, versions: Path, revision: str = "head") -> None:
    """Bring a database to a revision, each step in a transaction of its own; the caller holds the lock.

    Raises psycopg.Error: LockNotAvailable where others keep a table for longer than ten seconds.
    """
    config = _config(versions)
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(postgres_url), poolclass=NullPool
    )  # any address that libpq takes
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"set lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from None
        raise


def statements(versions: Path, current: str | None) -> str:
    """The SQL that would bring a database from a revision (None: from nothing) to the newest."""
    text = io.StringIO()
    command.upgrade(_config(versions, text), f"{current}:head" if current else "head", sql=True)
    return text.getvalue()


def _config(versions: Path, output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output)
    config.set_main_option("script_location", _escaped(FOLDER))
    config.set_main_option("version_locations", _escaped(versions))
    config.set_main_option("path_separator", "newline")  # a folder's name may hold spaces and colons
    return config


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")

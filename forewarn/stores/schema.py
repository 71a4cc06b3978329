"""Creates the tables of `schema.sql`."""

from importlib import resources

import psycopg

_LOCK = 7_305_511  # any number, the same in every process: only one creates tables at a time


def create_tables(postgres_url: str) -> None:
    """Create what is missing; safe to call from every process at start.

    Raises psycopg.OperationalError where the server cannot be reached.
    """
    statements = resources.files("forewarn.stores").joinpath("schema.sql").read_bytes()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(statements)

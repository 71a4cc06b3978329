"""Creates the tables of `schema.sql`."""

from importlib import resources

import psycopg

from forewarn.stores.locks import Lock


def create_tables(postgres_url: str) -> None:
    """Create what is missing; safe to call from every process at start.

    Raises psycopg.OperationalError where the server cannot be reached.
    """
    statements = resources.files("forewarn.stores").joinpath("schema.sql").read_bytes()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", (Lock.CREATE_TABLES.value,))
        connection.execute(statements)

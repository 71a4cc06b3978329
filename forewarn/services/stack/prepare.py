"""Prepares broker and database for the services: databases, tables, topics, and offsets that fit the log."""

import argparse
import sys
import time

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from forewarn.config.settings import Settings
from forewarn.services.lifecycle import configure_logging
from forewarn.stores.log import create_topics
from forewarn.stores.schema import SchemaIsNewerError, create_tables

_log = structlog.get_logger(__name__)


def create_database(postgres_url: str, name: str) -> bool:
    """Create a database on the server of this address, if it is missing; was it created?"""
    admin = make_conninfo(postgres_url, dbname="postgres")
    with psycopg.connect(admin, autocommit=True, connect_timeout=10) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            return False
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return True


def forget_offsets(postgres_url: str) -> int:
    """Start every consumer at the beginning; how many positions were forgotten.

    A broker that keeps its log in memory begins anew at offset 0: positions in the old log would skip messages.
    """
    with psycopg.connect(postgres_url) as connection:
        return connection.execute("delete from consumer_offsets").rowcount


def wait_for_database(postgres_url: str, timeout_seconds: float = 30.0) -> None:
    """Return once the server answers. Raises psycopg.OperationalError otherwise."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            psycopg.connect(postgres_url, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main() -> None:
    """Do what the options ask, on the settings' broker and database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--create-database", action="append", default=[], help="a database that must be there")
    log = parser.add_mutually_exclusive_group(required=True)
    log.add_argument("--new-log", action="store_true", help="the broker's log begins at offset 0 now")
    log.add_argument("--kept-log", action="store_true", help="the broker keeps its log over restarts")
    arguments = parser.parse_args()
    settings = Settings()
    configure_logging(settings)
    url = settings.postgres_url.get_secret_value()
    for name in arguments.create_database:
        wait_for_database(make_conninfo(url, dbname="postgres"))
        _log.info("database is there", name=name, created=create_database(url, name))
    wait_for_database(url)
    try:
        create_tables(url)
    except SchemaIsNewerError as error:
        sys.exit(str(error))
    _log.info("tables are there", database=conninfo_to_dict(url)["dbname"])
    create_topics(settings.kafka_bootstrap, settings.kafka_partitions)
    _log.info("topics are there", broker=settings.kafka_bootstrap)
    if arguments.new_log:
        _log.info("consumers start at the beginning of the new log", forgotten=forget_offsets(url))


if __name__ == "__main__":
    main()

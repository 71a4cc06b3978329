"""Reads PostgreSQL, and from it what the services say of themselves: where they run and how far behind they are."""

import time
from typing import Any, NamedTuple

import psycopg
import structlog

from forewarn.services.collector.readings import Instrument, Reading

_log = structlog.get_logger(__name__)
_TRY_AGAIN_SECONDS = 15.0
_OWN = """
select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
       current_setting('max_connections')::int, pg_database_size(current_database()),
       (select sum(xact_commit)::float8 from pg_stat_database),
       (select sum(xact_rollback)::float8 from pg_stat_database)
"""
_SERVICES = """
select service, max(pid) filter (where starts_with(instance, %s)), sum((counters->>'lag_messages')::float8) as lag
from service_status where seen_at > now() - interval '30 seconds' group by service
"""


class Told(NamedTuple):
    """readings: of the server; pids: process on this host by service; lags: messages that a service has yet to read."""

    readings: list[Reading]
    pids: dict[str, int]
    lags: dict[str, Reading]


class Database:
    """Keeps one connection; while the server is away it is asked again now and then, and nothing is read."""

    def __init__(self, url: str, host: str) -> None:
        self._host = host
        self._url = psycopg.conninfo.make_conninfo(url, connect_timeout=2, application_name="collector")
        self._connection: psycopg.Connection[Any] | None = None
        self._next_try = 0.0
        self._away = False

    def read(self) -> Told:
        """What the server tells now, empty while it is away."""
        try:
            connection = self._connected()
            return _read(connection, self._host) if connection is not None else Told([], {}, {})
        except psycopg.Error as error:
            self._lost(error)
            return Told([], {}, {})

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any] | None:
        if self._connection is None and time.monotonic() >= self._next_try:
            self._connection = psycopg.connect(
                self._url, autocommit=True, options="-c statement_timeout=4000", prepare_threshold=None
            )
            if self._away:
                _log.info("PostgreSQL is back")
            self._away = False
        return self._connection

    def _lost(self, error: psycopg.Error) -> None:
        self.close()
        self._next_try = time.monotonic() + _TRY_AGAIN_SECONDS
        if not self._away:
            _log.warning("PostgreSQL cannot be read, going on without", error=str(error).strip())
        self._away = True


def _read(connection: psycopg.Connection[Any], host: str) -> Told:
    row = connection.execute(_OWN).fetchone()
    assert row is not None
    backends, most, size, commits, rollbacks = row
    readings = [
        Reading("postgresql.backends", backends, "{connection}"),
        Reading("postgresql.connection.max", most, "{connection}", Instrument.GAUGE),
        Reading("postgresql.db_size", size, "By"),
        Reading("postgresql.commits", commits, "{transaction}", Instrument.COUNTER),
        Reading("postgresql.rollbacks", rollbacks, "{transaction}", Instrument.COUNTER),
    ]
    try:
        services = connection.execute(_SERVICES, (host,)).fetchall()
    except psycopg.errors.UndefinedTable:  # a database that has yet to be prepared
        services = []
    lags = {service: _lag(service, lag) for service, _, lag in services if lag is not None}
    return Told(readings, {service: pid for service, pid, _ in services if pid is not None}, lags)


def _lag(service: str, lag: float) -> Reading:
    attributes = (("messaging.consumer.group.name", service),)
    return Reading("messaging.consumer.lag", lag, "{message}", Instrument.GAUGE, attributes)

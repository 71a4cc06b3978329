"""Tells the database every few seconds that a process lives, and its counters."""

import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType

import psycopg
import structlog
from psycopg.types.json import Jsonb

logger = structlog.get_logger(__name__)

_UPSERT = """
insert into service_status (service, instance, pid, started_at, seen_at, counters)
values (%s, %s, %s, %s, now(), %s)
on conflict (service, instance) do update
set pid = excluded.pid, started_at = excluded.started_at, seen_at = excluded.seen_at, counters = excluded.counters
"""


class Heartbeat:
    """Keeps the row of a process in `service_status` fresh from a thread of its own.

    The service updates `counters` (JSON numbers by name) whenever it likes. A database that is away is waited for;
    it never disturbs the service. Use it as a context manager.
    """

    def __init__(self, postgres_url: str, service: str, instance: str, period_seconds: float = 2.0) -> None:
        self.counters: dict[str, float] = {}
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3, application_name=service)
        self._row = (service, instance, os.getpid(), datetime.now(UTC))
        self._period = period_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._alive = True

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self._try_beats()
            if self._stopped.wait(self._period):
                return

    def _try_beats(self) -> None:
        """Beat over one connection until it breaks or the service stops."""
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                self._say_found()
                while not self._beat(connection):
                    pass
        except psycopg.Error as error:
            self._say_lost(error)

    def _beat(self, connection: psycopg.Connection) -> bool:
        counters: Mapping[str, float] = dict(self.counters)
        connection.execute(_UPSERT, (*self._row, Jsonb(counters)))
        return self._stopped.wait(self._period)

    def _say_lost(self, error: psycopg.Error) -> None:
        if self._alive:
            logger.warning("heartbeat: PostgreSQL cannot be reached, going on without", error=str(error).strip())
        self._alive = False

    def _say_found(self) -> None:
        if not self._alive:
            logger.info("heartbeat: PostgreSQL is back")
        self._alive = True

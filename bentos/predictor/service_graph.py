"""Who calls whom, for the stream: read from the archive's edges now and then, kept when PostgreSQL is away."""

import threading
from collections.abc import Callable

import psycopg
import structlog

logger = structlog.get_logger(__name__)

_EDGES = "select client, server from service_edges where client <> server"


class ServiceGraphWatch:
    """Gives `publish` the graph (client -> servers), now and every few seconds."""

    def __init__(
        self, postgres_url: str, publish: Callable[[dict[str, set[str]]], None], period_seconds: float = 15.0
    ) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3)
        self._publish = publish
        self._period = period_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="service-graph", daemon=True)

    def start(self) -> None:
        """Look once now, then in the background."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(self._period):
            self._look()

    def _look(self) -> None:
        try:
            with psycopg.connect(self._url) as connection:
                edges = connection.execute(_EDGES).fetchall()
        except psycopg.Error as error:
            logger.warning("service graph unknown, PostgreSQL cannot be reached", error=str(error).strip())
            return
        calls: dict[str, set[str]] = {}
        for client, server in edges:
            calls.setdefault(client, set()).add(server)
        self._publish(calls)

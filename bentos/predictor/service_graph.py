"""Who calls whom, for the stream: read from the archive's edges now and then, kept when PostgreSQL is away."""

from collections.abc import Callable

import psycopg
import structlog

from bentos.predictor.periodic import Periodic

logger = structlog.get_logger(__name__)

_EDGES = "select client, server from service_edges where client <> server"


class ServiceGraphWatch(Periodic):
    """Gives `publish` the graph (client -> servers), now and every few seconds."""

    def __init__(
        self, postgres_url: str, publish: Callable[[dict[str, set[str]]], None], period_seconds: float = 15.0
    ) -> None:
        super().__init__("service-graph", period_seconds)
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3)
        self._publish = publish

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

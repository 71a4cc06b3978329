"""`python -m forewarn.services.connector`: makes signals of logs, spans and activity until SIGTERM or SIGINT."""

import os
import socket
import sys

import structlog

from forewarn.services.connector.service import Connector
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import begin, stop_event, wait_for_tables
from forewarn.services.metrics import MetricsServer
from forewarn.stores.log import create_topics

logger = structlog.get_logger("forewarn.services.connector")

_NICE = 5  # while history is sent in bulk, what predictions need comes first: nothing waits for the signals made here


def main() -> None:
    """Wait for broker and PostgreSQL, then work."""
    settings = begin("connector")
    os.nice(_NICE)
    stop = stop_event()
    url = settings.postgres_url.get_secret_value()
    try:
        create_topics(settings.kafka_bootstrap, settings.kafka_partitions)
    except TimeoutError as error:
        sys.exit(f"connector: {error}")
    wait_for_tables(url, stop)
    with (
        Heartbeat(url, "connector", f"{socket.gethostname()}-{os.getpid()}") as heartbeat,
        MetricsServer(settings, "connector", heartbeat.counters),
    ):
        logger.info("connector runs")
        Connector(settings, stop, heartbeat.counters).run()
    logger.info("connector stopped", **heartbeat.counters)


if __name__ == "__main__":
    main()

"""`python -m forewarn.services.archiver`: archives until SIGTERM or SIGINT."""

import os
import socket
import sys

import structlog

from forewarn.services.archiver.service import Archiver
from forewarn.services.archiver.tending import Tending
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import begin, stop_event, wait_for_tables
from forewarn.services.metrics import MetricsServer
from forewarn.stores.log import create_topics

logger = structlog.get_logger("forewarn.services.archiver")


def main() -> None:
    """Wait for broker and PostgreSQL, then archive."""
    settings = begin("archiver")
    stop = stop_event()
    url = settings.postgres_url.get_secret_value()
    try:
        create_topics(settings.kafka_bootstrap, settings.kafka_partitions)
    except TimeoutError as error:
        sys.exit(f"archiver: {error}")
    wait_for_tables(url, stop)
    with (
        Heartbeat(url, "archiver", f"{socket.gethostname()}-{os.getpid()}") as heartbeat,
        MetricsServer(settings, "archiver", heartbeat.counters),
    ):
        logger.info("archiver runs")
        with Tending(settings, heartbeat.counters):
            Archiver(settings, stop, heartbeat.counters).run()
    logger.info("archiver stopped", **heartbeat.counters)


if __name__ == "__main__":
    main()

"""`python -m forewarn.services.kafka_source`: reads foreign topics until SIGTERM or SIGINT."""

import os
import socket
import sys

import structlog

from forewarn.services.heartbeat import Heartbeat
from forewarn.services.kafka_source.routes import routes
from forewarn.services.kafka_source.service import KafkaSource
from forewarn.services.lifecycle import begin, stop_event
from forewarn.services.metrics import MetricsServer
from forewarn.stores.log import create_topics
from forewarn.telemetry.scrub_rules import load_rules

logger = structlog.get_logger("forewarn.services.kafka_source")


def main() -> None:
    """Exits with a sentence where no topic is configured, or a setting is not understood."""
    settings = begin("kafka-source")
    stop = stop_event()
    try:
        known = routes(settings)
        load_rules(settings.scrub)
        if not known:
            sys.exit(
                "kafka_source: no topic to read. Set FOREWARN_KAFKA_LOG_TOPICS (logs in JSON: syslog,fluentbit) or "
                "FOREWARN_KAFKA_OTLP_TOPICS (collector-spans=traces)"
            )
        create_topics(settings.kafka_bootstrap, settings.kafka_partitions)
    except (ValueError, TimeoutError) as error:
        sys.exit(f"kafka_source: {error}")
    instance = f"{socket.gethostname()}-{os.getpid()}"
    with (
        Heartbeat(settings.postgres_url.get_secret_value(), "kafka_source", instance) as heartbeat,
        MetricsServer(settings, "kafka_source", heartbeat.counters),
    ):
        logger.info("kafka source runs", topics=sorted(known))
        KafkaSource(settings, known, stop, heartbeat.counters).run()
    logger.info("kafka source stopped", **heartbeat.counters)


if __name__ == "__main__":
    main()

"""`python -m forewarn.services.alerter`: keeps the ledger and incidents, and tells people."""

import os
import socket
import threading

import psycopg
import structlog
from confluent_kafka import KafkaException

from forewarn.alerting.channel import Channel
from forewarn.alerting.console import ConsoleChannel
from forewarn.alerting.email import EmailChannel
from forewarn.config.settings import Settings
from forewarn.services.alerter.sender import Sender
from forewarn.services.alerter.session import LogUnavailableError, Session, leadership
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import configure_logging, stop_event
from forewarn.services.metrics import MetricsServer
from forewarn.stores.log import create_topics
from forewarn.stores.offsets import Overtaken
from forewarn.stores.schema import create_tables

logger = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
_PASSING = (
    psycopg.OperationalError, psycopg.InterfaceError, KafkaException, TimeoutError, LogUnavailableError, Overtaken,
)  # fmt: skip


def channels_of(settings: Settings) -> list[Channel]:
    """The console always, e-mail where there is an SMTP server."""
    return [ConsoleChannel(), *([EmailChannel(settings)] if settings.smtp_host else [])]


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until stopped; wait for a broker or a database that is away, and say so."""
    url = settings.postgres_url.get_secret_value()
    with (
        Heartbeat(url, "alerter", f"{socket.gethostname()}-{os.getpid()}") as heartbeat,
        MetricsServer(settings, "alerter", heartbeat.counters),
    ):
        while not stop.is_set():
            try:
                create_tables(url)
                create_topics(settings.kafka_bootstrap, settings.kafka_partitions, wait_seconds=5)
                serve(settings, stop, heartbeat.counters)
            except _PASSING as error:
                logger.warning("alerter: waiting, then trying again", error=str(error).strip())
                stop.wait(_RETRY_SECONDS)
    logger.info("alerter stopped")


def serve(settings: Settings, stop: threading.Event, counters: dict[str, float]) -> None:
    """One term: take the lead, follow the log, send messages. Raises what ends the term."""
    url = settings.postgres_url.get_secret_value()
    channels = channels_of(settings)

    def count(name: str) -> None:
        counters[name] = counters.get(name, 0) + 1

    senders = [Sender(url, channel, settings.public_url, count) for channel in channels]

    def wake() -> None:
        for sender in senders:
            sender.wake()

    with leadership(url, stop) as connection:
        if connection is None:
            return
        session = Session(connection, settings, tuple(c.name for c in channels), counters, wake)
        logger.info("alerter is active", channels=[c.name for c in channels])
        for sender in senders:
            sender.start()
        try:
            while not stop.is_set():
                session.step()
        finally:
            for sender in senders:
                sender.stop()
            session.close()


def main() -> None:
    """Entry point."""
    settings = Settings()
    configure_logging(settings)
    run(settings, stop_event())


if __name__ == "__main__":
    main()

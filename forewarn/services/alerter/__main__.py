"""`python -m forewarn.services.alerter`: keeps the ledger and incidents, and tells people."""

import os
import socket
import sys
import threading

import psycopg
import structlog
from confluent_kafka import KafkaException

from forewarn.alerting.links import LinkSigner
from forewarn.alerting.policy import Policy
from forewarn.alerting.policy_file import PolicyError
from forewarn.config.settings import Settings
from forewarn.services.alerter.alerting_file import AlertingFile
from forewarn.services.alerter.causes import CauseFinder
from forewarn.services.alerter.compose import Composer
from forewarn.services.alerter.responding.responder import responding
from forewarn.services.alerter.rules import RuleWatcher
from forewarn.services.alerter.session import LogUnavailableError, Session, leadership
from forewarn.services.alerter.switchboard import Switchboard
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import begin, stop_event
from forewarn.services.metrics import MetricsServer
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.log import create_topics
from forewarn.stores.offsets import Overtaken
from forewarn.stores.schema import SchemaIsNewerError, create_tables

logger = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
_PASSING = (
    psycopg.OperationalError, psycopg.InterfaceError, KafkaException, TimeoutError, LogUnavailableError, Overtaken,
)  # fmt: skip


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until stopped; wait for a broker or a database that is away, and say so.

    Raises PolicyError or OSError for an alerting file that cannot be used at the start.
    """
    file = AlertingFile(settings)
    url = settings.postgres_url.get_secret_value()
    with (
        Heartbeat(url, "alerter", f"{socket.gethostname()}-{os.getpid()}") as heartbeat,
        MetricsServer(settings, "alerter", heartbeat.counters),
        responding(settings, heartbeat.counters),
    ):
        while not stop.is_set():
            try:
                create_tables(url)
                create_topics(settings.kafka_bootstrap, settings.kafka_partitions, wait_seconds=5)
                serve(settings, file, stop, heartbeat.counters)
            except _PASSING as error:
                logger.warning("alerter: waiting, then trying again", error=str(error).strip())
                stop.wait(_RETRY_SECONDS)
    logger.info("alerter stopped")


def serve(settings: Settings, file: AlertingFile, stop: threading.Event, counters: dict[str, float]) -> None:
    """One term: take the lead, follow the log, send messages. Raises what ends the term."""
    url = settings.postgres_url.get_secret_value()

    def count(name: str) -> None:
        counters[name] = counters.get(name, 0) + 1

    def policy() -> Policy:
        return watcher.policy()

    compose = Composer(settings.public_url, _signer(settings), policy)
    switchboard = Switchboard(settings, compose, count)
    causes = CauseFinder(url, settings, count)

    def wake() -> None:
        switchboard.wake()
        causes.wake()

    with leadership(url, stop) as connection:
        if connection is None:
            return
        audit = PostgresAudit(connection)

        def note(action: str, reason: str) -> None:
            audit.write("alerter", action, "alerting file", reason[:2000])

        file.refresh(note)  # it may have changed while this alerter stood by, and the first sweep sends
        watcher = RuleWatcher(settings, lambda: file.policy, count)
        session = Session(connection, settings, policy, counters, wake, watcher)
        logger.info("alerter is active", channels=list(file.policy.channels))
        switchboard.follow(file.policy)
        causes.start()
        watcher.start()
        try:
            while not stop.is_set():
                session.step()
                if file.refresh(note):
                    switchboard.follow(file.policy)
            session.drain(settings.drain_seconds)
        finally:
            watcher.stop()
            causes.stop()
            switchboard.stop()
            session.close()


def _signer(settings: Settings) -> LinkSigner | None:
    try:
        return LinkSigner.of(settings)
    except OSError as error:
        logger.warning("alerts carry no links to answer with: set FOREWARN_LINK_KEY", error=str(error))
        return None


def main() -> None:
    """Entry point."""
    settings = begin("alerter")
    try:
        run(settings, stop_event())
    except SchemaIsNewerError as error:
        sys.exit(str(error))
    except (PolicyError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"alerter: the alerting file {settings.alerting} cannot be used:\n{error}")


if __name__ == "__main__":
    main()

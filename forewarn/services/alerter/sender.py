"""Sends what is in the outbox: one thread a channel, with retries; what a channel took is not sent again."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog

from forewarn.alerting.channel import Channel, Notification, Undelivered
from forewarn.incidents.paging import CLOSINGS
from forewarn.incidents.records import Incident
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import Message, PostgresOutbox

logger = structlog.get_logger(__name__)

ACTOR = "sender"
GIVE_UP_AFTER = timedelta(hours=24)
MAX_RETRY_SECONDS = 300.0
POLL_SECONDS = 1.0
SILENCE_SECONDS = 2.0  # how soon it is noticed that a silence was ended early


def retry_seconds(attempts: int) -> float:
    """Wait before the next attempt: 1, 2, 4, … seconds, at most five minutes."""
    return min(2.0 ** min(attempts, 20), MAX_RETRY_SECONDS)


class Sender:
    """Empties the outbox of one channel.

    A message is locked while it is sent and marked in the same transaction: killed before the channel took it, it is
    sent later; killed after the mark, it is not sent again; in between it comes again with the same Message-ID.
    """

    def __init__(self, postgres_url: str, channel: Channel, public_url: str, count: Callable[[str], None]) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, application_name=f"sender-{channel.name}")
        self._channel = channel
        self._public_url = public_url.rstrip("/")
        self._count = count
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{channel.name}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def stop(self, seconds: float = 15.0) -> None:
        """End after the message that is being sent."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=seconds)
        self._channel.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._drain(connection)
            except psycopg.Error as error:
                logger.warning("sender: PostgreSQL cannot be reached, trying again", error=str(error).strip())
                self._stopped.wait(2.0)

    def _drain(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopped.is_set():
            if not self.send_next(connection):
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def send_next(self, connection: psycopg.Connection[Any]) -> bool:
        """Deal with the next message that is due; False where there is none."""
        outbox = PostgresOutbox(connection)
        with outbox.claim([self._channel.name]) as message:
            if message is None:
                return False
            incident = PostgresIncidents(connection).get(message.incident_id, message.version)
            if incident is None:
                outbox.mark(message.message_id, "failed", f"there is no version {message.version} of its incident")
            elif not self._hold_back(connection, message, incident):
                self._send(connection, message, incident)
        return True

    def _hold_back(self, connection: psycopg.Connection[Any], message: Message, incident: Incident) -> bool:
        """Park a message that a silence covers; drop one that time has overtaken."""
        outbox, audit, now = PostgresOutbox(connection), PostgresAudit(connection), datetime.now(UTC)
        silence = next((s for s in PostgresFeedback(connection).silences(now) if s.matches(incident, now)), None)
        if silence is not None:
            reason = f"silenced by {silence.author} until {silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.reason}"
            left = (silence.ends_at - now).total_seconds()
            outbox.mark(message.message_id, "silenced", reason, retry_seconds=min(left, SILENCE_SECONDS))
            if message.status != "silenced":
                audit.write(ACTOR, f"withhold '{message.reason}' on {message.channel}", message.incident_id, reason)
            return True
        overtaken = self._overtaken(outbox, message)
        if overtaken is not None:
            outbox.mark(message.message_id, "dropped", overtaken)
            audit.write(ACTOR, f"drop '{message.reason}' on {message.channel}", message.incident_id, overtaken)
        return overtaken is not None

    @staticmethod
    def _overtaken(outbox: PostgresOutbox, message: Message) -> str | None:
        """Why a message is not worth sending any more, None where it is."""
        sent = outbox.sent(message.incident_id, message.channel)
        if message.reason in CLOSINGS and not sent:
            return "nobody was told that it was open"
        if message.status != "silenced" or message.created_at is None:
            return None
        later = any(s.created_at is not None and s.created_at > message.created_at for s in sent)
        if later or outbox.waiting(message.incident_id, message.channel) > 1:
            return "while it was silenced, the incident went on"
        return None

    def _send(self, connection: psycopg.Connection[Any], message: Message, incident: Incident) -> None:
        outbox, audit = PostgresOutbox(connection), PostgresAudit(connection)
        action = f"'{message.reason}' on {message.channel}"
        try:
            self._channel.send(self._notification(connection, message, incident))
        except Exception as error:  # noqa: BLE001  # one message that cannot be made must not hold up the others
            self._retry_or_fail(outbox, audit, message, error)
            return
        outbox.mark(message.message_id, "sent")
        audit.write(ACTOR, f"sent {action}", message.incident_id, f"attempt {message.attempts + 1}")
        self._count("messages_sent_total")

    def _retry_or_fail(self, outbox: PostgresOutbox, audit: PostgresAudit, message: Message, error: Exception) -> None:
        if not isinstance(error, Undelivered):
            logger.exception("sender: the message cannot be made", channel=message.channel, reason=message.reason)
        text = f"{type(error).__name__}: {error}" if not isinstance(error, Undelivered) else str(error)
        old = message.created_at is not None and datetime.now(UTC) - message.created_at > GIVE_UP_AFTER
        if old or (isinstance(error, Undelivered) and error.permanent):
            outbox.mark(message.message_id, "failed", text)
            audit.write(ACTOR, f"gave up '{message.reason}' on {message.channel}", message.incident_id, text)
            self._count("messages_failed_total")
        else:
            wait = retry_seconds(message.attempts)
            outbox.mark(message.message_id, "pending", text, retry_seconds=wait)
            self._count("messages_retried_total")
        logger.warning("sender: a message was not taken", channel=message.channel, reason=message.reason, error=text)

    def _notification(self, connection: psycopg.Connection[Any], message: Message, incident: Incident) -> Notification:
        earlier = PostgresOutbox(connection).sent(message.incident_id, message.channel)
        first = PostgresIncidents(connection).get(message.incident_id, earlier[0].version) if earlier else None
        cause, *others = PostgresLedger(connection).episodes(incident.episodes)
        return Notification(
            message_id=message.message_id,
            thread=tuple(m.message_id for m in earlier),
            reason=message.reason,
            incident=incident,
            subject=(first or incident).title,
            cause=cause,
            others=tuple(others),
            url=f"{self._public_url}/risk?incident={incident.incident_id}",
        )

"""Sends what the outbox holds for one channel: a thread of its own, with retries; what was taken is not sent again."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog

from forewarn.alerting.channel import Channel, Digest, Notification, Receipt, Undelivered
from forewarn.incidents.paging import CLOSINGS
from forewarn.services.alerter.compose import Composer
from forewarn.services.tracing import sending_span
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.outbox import Message, PostgresOutbox

logger = structlog.get_logger(__name__)

ACTOR = "sender"
GIVE_UP_AFTER = timedelta(hours=24)
MAX_RETRY_SECONDS = 300.0
POLL_SECONDS = 1.0


def retry_seconds(attempts: int) -> float:
    """Wait before the next attempt: 1, 2, 4, … seconds, at most five minutes."""
    return min(2.0 ** min(attempts, 20), MAX_RETRY_SECONDS)


class Sender:
    """Empties the outbox of one channel.

    A message is noted as being sent, locked while it is, and marked in the transaction of the lock: killed before the
    channel took it, it is sent later; killed after the mark, it is not sent again; in between the channel is told that
    it may have it already (`in_doubt`), and the message has the same identity.
    """

    def __init__(self, postgres_url: str, channel: Channel, compose: Composer, count: Callable[[str], None]) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, application_name=f"sender-{channel.name}"[:60])
        self._channel = channel
        self._compose = compose
        self._count = count
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{channel.name}", daemon=True)
        self._refreshed = float("-inf")

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def ask_to_stop(self) -> None:
        """End after the message that is being sent; does not wait for it."""
        self._stopped.set()
        self._wake.set()

    def stop(self, seconds: float = 15.0) -> None:
        """End after the message that is being sent."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(seconds)
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
            self._refresh(connection)
            if not self.send_next(connection):
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def send_next(self, connection: psycopg.Connection[Any]) -> bool:
        """Deal with what is due next, a message or a batch; False where there is nothing."""
        with PostgresOutbox(connection).claim(self._channel.name) as messages:
            wanted = [m for m in messages if not self._hold_back(connection, m)]
            if wanted:
                self._send(connection, wanted)
        return bool(messages)

    def _hold_back(self, connection: psycopg.Connection[Any], message: Message) -> bool:
        """Give back what a silence covers by now; drop what time has overtaken."""
        outbox, audit, now = PostgresOutbox(connection), PostgresAudit(connection), datetime.now(UTC)
        incident = self._compose.incident(connection, message)
        if incident is None:
            outbox.mark(message.message_id, "failed", f"there is no version {message.version} of its incident")
            return True
        if message.attempts and message.reason not in CLOSINGS:
            labels = self._compose.labels(incident)
            silences = PostgresFeedback(connection).silences(now)
            silence = next((s for s in silences if s.covers(labels, now)), None)
            if silence is not None:
                reason = f"silenced by {silence.author} until {silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.reason}"
                outbox.mark(message.message_id, "held", reason)
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
        if message.created_at is not None and datetime.now(UTC) - message.created_at > 2 * GIVE_UP_AFTER:
            return "it is older than two days"  # of a channel that was away, or was taken out of the file
        if message.reason in CLOSINGS and not outbox.sent(message.incident_id, message.channel):
            return "nobody was told that it was open"
        return None

    def _send(self, connection: psycopg.Connection[Any], messages: Sequence[Message]) -> None:
        try:
            with sending_span(f"send {self._channel.name}", incident=messages[0].incident_id, messages=len(messages)):
                receipt = self._deliver(connection, messages)
        except Exception as error:  # noqa: BLE001  # one message that cannot be made must not hold up the others
            self._retry_or_fail(connection, messages, error)
            return
        outbox, audit = PostgresOutbox(connection), PostgresAudit(connection)
        for m in messages:
            outbox.mark(m.message_id, "sent", receipt=receipt)
            together = f", with {len(messages) - 1} others" if len(messages) > 1 else ""
            reason = f"attempt {m.attempts + 1}{together}"
            audit.write(ACTOR, f"sent '{m.reason}' on {m.channel}", m.incident_id, reason)
        self._count("messages_sent_total")

    def _deliver(self, connection: psycopg.Connection[Any], messages: Sequence[Message]) -> Receipt | None:
        notifications = tuple(self._compose.notification(connection, m) for m in messages)
        digest = messages[0].held_for == "rate_limit"
        if len(notifications) == 1 and not digest:
            return self._channel.send(notifications[0])
        first = messages[0]
        return self._channel.send_digest(
            Digest(
                first.batch_id or first.message_id, notifications, digest, first.why, self._compose.home,
                any(m.in_doubt for m in messages),
            )
        )  # fmt: skip

    def _retry_or_fail(
        self, connection: psycopg.Connection[Any], messages: Sequence[Message], error: Exception
    ) -> None:
        outbox, audit, first = PostgresOutbox(connection), PostgresAudit(connection), messages[0]
        known = error if isinstance(error, Undelivered) else None
        if known is None:
            logger.exception("sender: the message cannot be made", channel=first.channel, reason=first.reason)
        text = str(known) if known is not None else f"{type(error).__name__}: {error}"
        asked = known.retry_seconds if known is not None else None
        for m in messages:
            old = m.created_at is not None and datetime.now(UTC) - m.created_at > GIVE_UP_AFTER
            if old or (known is not None and known.permanent):
                outbox.mark(m.message_id, "failed", text)
                audit.write(ACTOR, f"gave up '{m.reason}' on {m.channel}", m.incident_id, text)
                self._count("messages_failed_total")
            else:
                wait = max(retry_seconds(m.attempts), asked or 0.0)
                outbox.mark(m.message_id, "pending", text, retry_seconds=wait)
                self._count("messages_retried_total")
        logger.warning("sender: a message was not taken", channel=first.channel, reason=first.reason, error=text)

    def _refresh(self, connection: psycopg.Connection[Any]) -> None:
        """Tell a channel that forgets what is still open."""
        every: float | None = getattr(self._channel, "refresh_seconds", None)
        if every is None or time.monotonic() - self._refreshed < every:
            return
        self._refreshed = time.monotonic()
        open_ones = [
            self._compose.current(connection, m) for m in PostgresOutbox(connection).told_open(self._channel.name)
        ]
        notifications: list[Notification] = [n for n in open_ones if n is not None]
        try:
            self._channel.refresh(notifications)  # type: ignore[attr-defined]  # see KeepsAlive
        except Undelivered as error:
            self._refreshed = time.monotonic() - every + min(every, 5.0)
            logger.warning("sender: what is open was not taken", channel=self._channel.name, error=str(error))

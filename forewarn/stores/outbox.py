"""The outbox in PostgreSQL: messages are written with what they tell of and sent until a channel took them."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg.rows import class_row

_NAMESPACE = uuid.UUID("c0d6a3f5-0f43-4c33-8f7d-5b1f7f0f8a11")


@dataclass(frozen=True, slots=True)
class Message:
    """A version of an incident to be told on a channel. Times are wall clock."""

    message_id: str
    incident_id: str
    version: int
    channel: str
    reason: str  # 'opened', 'failed', 'resolved' …
    status: str = "pending"
    attempts: int = 0
    created_at: datetime | None = None
    last_error: str | None = None


def message_id_of(incident_id: str, channel: str, reason: str) -> str:
    """The same for the same state of an incident on a channel, so that a receiver can tell a repetition."""
    return str(uuid.uuid5(_NAMESPACE, f"{incident_id}/{channel}/{reason}"))


class OutboxStore(Protocol):
    """What an outbox can do."""

    def enqueue(self, incident_id: str, version: int, reason: str, channels: Sequence[str]) -> int:
        """Write a message for each channel; those that are there already stay. How many were new."""

    def told(self, incident_id: str) -> list[str]:
        """Reasons that were written for an incident on any channel, oldest first."""

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """What a channel has taken about an incident, oldest first."""

    def waiting(self, incident_id: str, channel: str) -> int:
        """How many messages about an incident wait for a channel."""

    def claim(self, channels: Sequence[str]) -> contextlib.AbstractContextManager[Message | None]:
        """The next message that is due, for this caller alone while the context lasts; None where nothing is due.

        Messages about one incident leave a channel in the order in which they were written.
        """

    def mark(self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None) -> None:
        """What became of a claimed message: 'sent', 'pending' (again after `retry_seconds`), 'silenced', 'failed',
        'dropped'. Every mark but 'silenced' counts as an attempt."""


_CLAIM = """
select message_id::text, incident_id::text, version, channel, reason, status, attempts, created_at, last_error
from outbox o
where status in ('pending', 'silenced') and next_attempt <= clock_timestamp() and channel = any(%s)
and not exists (
    select from outbox earlier where earlier.incident_id = o.incident_id and earlier.channel = o.channel
    and earlier.status = 'pending' and (earlier.created_at, earlier.message_id) < (o.created_at, o.message_id))
order by created_at, message_id limit 1 for update skip locked
"""
_MARK = """
update outbox set status = %(status)s, last_error = %(error)s,
    attempts = attempts + case when %(status)s = 'silenced' then 0 else 1 end,
    next_attempt = clock_timestamp() + make_interval(secs => coalesce(%(retry)s, 0)),
    sent_at = case when %(status)s = 'sent' then clock_timestamp() end
where message_id = %(message_id)s
"""


class PostgresOutbox:
    """OutboxStore on a connection. `claim` runs a transaction of its own, so that the lock ends with the process."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def enqueue(self, incident_id: str, version: int, reason: str, channels: Sequence[str]) -> int:
        """See OutboxStore."""
        new = 0
        for channel in channels:
            row = (message_id_of(incident_id, channel, reason), incident_id, version, channel, reason)
            new += self._connection.execute(
                b"insert into outbox (message_id, incident_id, version, channel, reason, next_attempt, created_at)"
                b" values (%s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp()) on conflict do nothing",
                row,
            ).rowcount
        return new

    def told(self, incident_id: str) -> list[str]:
        """See OutboxStore."""
        rows = self._connection.execute(
            b"select reason from outbox where incident_id = %s and status <> 'dropped'"
            b" group by reason order by min(created_at)",
            (incident_id,),
        )
        return [reason for (reason,) in rows]

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """See OutboxStore."""
        cursor = self._connection.cursor(row_factory=class_row(Message))
        return cursor.execute(
            b"select message_id::text, incident_id::text, version, channel, reason, status, attempts, created_at,"
            b" last_error from outbox where incident_id = %s and channel = %s and status = 'sent' order by created_at",
            (incident_id, channel),
        ).fetchall()

    def waiting(self, incident_id: str, channel: str) -> int:
        """See OutboxStore."""
        row = self._connection.execute(
            b"select count(*) from outbox where incident_id = %s and channel = %s"
            b" and status in ('pending', 'silenced')",
            (incident_id, channel),
        ).fetchone()
        return int(row[0]) if row else 0

    @contextlib.contextmanager
    def claim(self, channels: Sequence[str]) -> Iterator[Message | None]:
        """See OutboxStore."""
        with self._connection.transaction():
            cursor = self._connection.cursor(row_factory=class_row(Message))
            yield cursor.execute(_CLAIM, (list(channels),)).fetchone()

    def mark(self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None) -> None:
        """See OutboxStore."""
        self._connection.execute(
            _MARK, {"status": status, "error": error, "retry": retry_seconds, "message_id": message_id}
        )

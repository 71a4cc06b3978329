"""Every decision with its reason: who, what, about what, why."""

from typing import Any, Protocol

import psycopg


class AuditStore(Protocol):
    """Append-only list of decisions."""

    def write(self, actor: str, action: str, subject: str, reason: str) -> None:
        """`subject` is the identity of what was decided about: an incident, an episode, a topic."""

    def about(self, subject: str) -> list[tuple[str, str, str]]:
        """Actor, action and reason of each decision about a subject, oldest first."""


class PostgresAudit:
    """AuditStore on a connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def write(self, actor: str, action: str, subject: str, reason: str) -> None:
        """See AuditStore."""
        self._connection.execute(
            b"insert into audit (actor, action, subject, reason) values (%s, %s, %s, %s)",
            (actor, action, subject, reason.replace("\0", "")),
        )

    def about(self, subject: str) -> list[tuple[str, str, str]]:
        """See AuditStore."""
        rows = self._connection.execute(
            b"select actor, action, reason from audit where subject = %s order by audit_id", (subject,)
        )
        return [(actor, action, reason) for actor, action, reason in rows]

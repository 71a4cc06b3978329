"""Decisions in memory."""


class InMemoryAudit:
    """AuditStore in a list."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []

    def write(self, actor: str, action: str, subject: str, reason: str) -> None:
        """See AuditStore."""
        self._rows.append((actor, action, subject, reason))

    def about(self, subject: str) -> list[tuple[str, str, str]]:
        """See AuditStore."""
        return [(actor, action, reason) for actor, action, its, reason in self._rows if its == subject]

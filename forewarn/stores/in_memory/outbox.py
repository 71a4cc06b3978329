"""The outbox in memory."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from forewarn.stores.outbox import Message, message_id_of


@dataclass
class _Slot:
    message: Message
    order: int
    next_attempt: datetime
    claimed: bool = False


class InMemoryOutbox:
    """OutboxStore in a dictionary."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}
        self._order = itertools.count()

    def enqueue(self, incident_id: str, version: int, reason: str, channels: Sequence[str]) -> int:
        """See OutboxStore."""
        before = len(self._slots)
        for channel in channels:
            key, now = message_id_of(incident_id, channel, reason), datetime.now(UTC)
            message = Message(key, incident_id, version, channel, reason, created_at=now)
            self._slots.setdefault(key, _Slot(message, next(self._order), now))
        return len(self._slots) - before

    def told(self, incident_id: str) -> list[str]:
        """See OutboxStore."""
        of_it = [s.message for s in self._ordered() if s.message.incident_id == incident_id]
        return list(dict.fromkeys(m.reason for m in of_it if m.status != "dropped"))

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """See OutboxStore."""
        return [m for m in self._of(incident_id, channel) if m.status == "sent"]

    def waiting(self, incident_id: str, channel: str) -> int:
        """See OutboxStore."""
        return sum(m.status in ("pending", "silenced") for m in self._of(incident_id, channel))

    @contextlib.contextmanager
    def claim(self, channels: Sequence[str]) -> Iterator[Message | None]:
        """See OutboxStore."""
        slot = next((s for s in self._ordered() if s.message.channel in channels and self._due(s)), None)
        if slot is None:
            yield None
            return
        slot.claimed = True
        try:
            yield slot.message
        finally:
            slot.claimed = False

    def mark(self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None) -> None:
        """See OutboxStore."""
        slot = self._slots[message_id]
        attempts = slot.message.attempts + (status != "silenced")
        slot.message = replace(slot.message, status=status, attempts=attempts, last_error=error)
        slot.next_attempt = datetime.now(UTC) + timedelta(seconds=retry_seconds or 0)

    def _ordered(self) -> list[_Slot]:
        return sorted(self._slots.values(), key=lambda s: s.order)

    def _of(self, incident_id: str, channel: str) -> list[Message]:
        ordered = (s.message for s in self._ordered())
        return [m for m in ordered if (m.incident_id, m.channel) == (incident_id, channel)]

    def _due(self, slot: _Slot) -> bool:
        m = slot.message
        waits = m.status in ("pending", "silenced") and slot.next_attempt <= datetime.now(UTC) and not slot.claimed
        behind = (
            s.order < slot.order
            and s.message.status == "pending"
            and (s.message.incident_id, s.message.channel) == (m.incident_id, m.channel)
            for s in self._slots.values()
        )
        return waits and not any(behind)

"""The outbox in memory."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from forewarn.alerting.messages import TOLD_ONCE, Message
from forewarn.alerting.situation import TOLD, ChannelState, GroupState
from forewarn.incidents.paging import CLOSINGS


@dataclass
class _Slot:
    message: Message
    order: int
    claimed: bool = False


class InMemoryOutbox:
    """OutboxStore in a dictionary. now: the wall clock."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._slots: dict[str, _Slot] = {}
        self._order = itertools.count()

    def put(self, message: Message) -> bool:
        """See OutboxStore."""
        now, slot = self._now(), self._slots.get(message.message_id)
        new = replace(message, created_at=message.created_at or now, due=message.due or now)
        if slot is None or slot.message.status == "dropped":
            self._slots[message.message_id] = _Slot(new, next(self._order))
            return True
        if slot.message.status != "held":
            return False
        slot.message = replace(new, created_at=slot.message.created_at, attempts=slot.message.attempts)
        return True

    def of(self, incident_ids: Sequence[str]) -> dict[str, list[Message]]:
        """See OutboxStore."""
        found: dict[str, list[Message]] = {}
        for message in self._all():
            if message.incident_id in incident_ids:
                found.setdefault(message.incident_id, []).append(message)
        return found

    def told(self, incident_id: str) -> list[str]:
        """See OutboxStore."""
        of_it = (m for m in self._all() if m.incident_id == incident_id and m.status in TOLD)
        return list(dict.fromkeys(m.reason for m in of_it if m.reason in TOLD_ONCE))

    def waiting(self, until: datetime | None = None) -> list[str]:
        """See OutboxStore."""
        held = [m for m in self._all() if m.status == "held"]
        due = [m for m in held if until is None or (m.due is not None and m.due <= until)]
        return list(dict.fromkeys(m.incident_id for m in due))

    def groups(self, since: datetime) -> dict[str, GroupState]:
        """See OutboxStore."""
        found: dict[str, GroupState] = {}
        for key in {m.group_key for m in self._all() if m.group_key}:
            mine = [m for m in self._all() if m.group_key == key]
            held = [m.created_at for m in mine if m.status == "held" and m.created_at]
            flushed = [m.released_at for m in mine if m.status in TOLD and m.released_at and m.released_at > since]
            if held or flushed:
                found[key] = GroupState(min(held, default=None), max(flushed, default=None))
        return found

    def channel_state(self, channel: str, since: datetime) -> ChannelState:
        """See OutboxStore."""
        mine = [m for m in self._all() if m.channel == channel and m.reason != "updated"]
        released: dict[str, datetime] = {}
        for m in mine:
            if m.released_at and m.released_at > since and m.status in TOLD and m.held_for != "rate_limit":
                released[m.batch_id or m.message_id] = m.released_at
        limited = [m for m in mine if m.held_for == "rate_limit"]
        digests = [m.released_at for m in limited if m.status in TOLD and m.released_at]
        held = [m.created_at for m in limited if m.status == "held" and m.created_at]
        return ChannelState(tuple(sorted(released.values())), max(digests, default=None), min(held, default=None))

    def ended(self, since: datetime) -> dict[tuple[str, str, str], datetime]:
        """See OutboxStore."""
        return {
            (m.channel, str(m.told["entity"]), str(m.told["mode"])): m.released_at
            for m in self._all()
            if m.reason in CLOSINGS and m.status in TOLD and m.released_at and m.released_at > since and m.told
        }

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """See OutboxStore."""
        mine = [m for m in self._all() if (m.incident_id, m.channel) == (incident_id, channel)]
        return [m for m in mine if m.status == "sent"]

    def sharing(self, receipt: Mapping[str, Any], channel: str | None = None) -> list[str]:
        """See OutboxStore."""
        told = (m for m in self._all() if channel in (None, m.channel))
        mine = (m for m in told if m.status == "sent" and m.receipt == receipt)
        return list(dict.fromkeys(m.incident_id for m in mine))

    def told_open(self, channel: str) -> list[Message]:
        """See OutboxStore."""
        last = {m.incident_id: m for m in self._all() if m.channel == channel and m.status == "sent"}
        return [m for m in last.values() if m.reason not in CLOSINGS]

    @contextlib.contextmanager
    def claim(self, channel: str) -> Iterator[list[Message]]:
        """See OutboxStore."""
        first = next((s for s in self._ordered() if s.message.channel == channel and self._due(s)), None)
        slots = [s for s in self._ordered() if first is not None and self._goes_with(s, first)]
        found = [s.message for s in slots]
        for slot in slots:
            slot.claimed, slot.message = True, replace(slot.message, in_doubt=True)
        try:
            yield found
        finally:
            for slot in slots:
                slot.claimed = False

    def mark(
        self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """See OutboxStore."""
        slot, now = self._slots[message_id], self._now()
        m = slot.message
        slot.message = replace(
            m, status=status, attempts=m.attempts + (status != "held"), last_error=error,
            held_for="silence" if status == "held" else m.held_for,
            why=error or m.why if status in ("held", "dropped") else m.why,
            due=now + timedelta(seconds=retry_seconds or 0), sent_at=now if status == "sent" else None,
            in_doubt=False, receipt=m.receipt if receipt is None else dict(receipt),
        )  # fmt: skip

    def _ordered(self) -> list[_Slot]:
        return sorted(self._slots.values(), key=lambda s: s.order)

    def _all(self) -> list[Message]:
        return [s.message for s in self._ordered()]

    @staticmethod
    def _goes_with(slot: _Slot, first: _Slot) -> bool:
        if slot is first:
            return True
        one, other = slot.message, first.message
        same = one.batch_id is not None and (one.batch_id, one.channel) == (other.batch_id, other.channel)
        return same and one.status == "pending"

    def _due(self, slot: _Slot) -> bool:
        m = slot.message
        set_back = m.created_at is not None and m.created_at > self._now() + timedelta(minutes=1)  # the clock, since
        reached = m.due is None or m.due <= self._now() or set_back
        due = m.status == "pending" and reached and not slot.claimed
        behind = (
            s.order < slot.order
            and s.message.status == "pending"
            and (s.message.incident_id, s.message.channel) == (m.incident_id, m.channel)
            for s in self._slots.values()
        )
        return due and not any(behind)

"""A message: one state of one incident for one channel, as the outbox keeps it and decisions see it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forewarn.incidents.paging import CLOSINGS

_NAMESPACE = uuid.UUID("c0d6a3f5-0f43-4c33-8f7d-5b1f7f0f8a11")

OPENINGS = ("opened", "failed", "reopened")
TOLD_ONCE = (*OPENINGS, *CLOSINGS)
FOLLOW_UPS = ("raised", "updated", "acknowledged", "repeated")  # about what was told before


@dataclass(frozen=True, slots=True)
class Message:
    """A state of an incident to be told on a channel. Times are wall clock.

    status: 'held' (until `due`, for the reason `held_for`), 'pending' (to be sent), 'sent', 'failed' (given up),
    'dropped' (not worth telling any more). why: the last decision about it, in words. told: what it says of the
    incident (severity, title, seconds left), to compare later versions with. sequence: tells messages of one reason
    apart. batch_id: sent as one with others. receipt: what the channel gave back, by which it finds the thread again.
    in_doubt: the process ended while it was being sent.
    """

    message_id: str
    incident_id: str
    version: int
    channel: str
    reason: str  # 'opened', 'failed', 'resolved' …
    status: str = "pending"
    attempts: int = 0
    created_at: datetime | None = None
    last_error: str | None = None
    sequence: int = 0
    route: str = ""
    group_key: str = ""
    held_for: str | None = None
    why: str = ""
    due: datetime | None = None
    released_at: datetime | None = None
    sent_at: datetime | None = None
    batch_id: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)
    in_doubt: bool = False


def message_id_of(incident_id: str, channel: str, reason: str, sequence: int = 0) -> str:
    """The same for the same state of an incident on a channel, so that a receiver can tell a repetition."""
    number = f"/{sequence}" if sequence else ""
    return str(uuid.uuid5(_NAMESPACE, f"{incident_id}/{channel}/{reason}{number}"))


def batch_id_of(message_ids: list[str]) -> str:
    """The same for the same messages."""
    return str(uuid.uuid5(_NAMESPACE, "|".join(sorted(message_ids))))

"""What a channel is, and what it is given to tell."""

from dataclasses import dataclass
from typing import Protocol

from forewarn.incidents.episodes import Episode
from forewarn.incidents.records import Incident


class Undelivered(Exception):  # noqa: N818  # it is the state of the message, not an error of ours
    """A channel did not take a message. `permanent`: another attempt is of no use."""

    def __init__(self, reason: str, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about an incident: everything that a channel needs to render it.

    message_id: the same at each attempt. thread: those of the earlier messages about this incident that the channel
    took, oldest first. reason: 'opened', 'failed', 'resolved', 'withdrawn', 'expired', 'averted' or 'reopened'.
    subject: the same for all messages of the incident. cause: its first episode. others: the rest of them.
    """

    message_id: str
    thread: tuple[str, ...]
    reason: str
    incident: Incident
    subject: str
    cause: Episode
    others: tuple[Episode, ...]
    url: str


class Channel(Protocol):
    """Tells people. A message that was taken may come again with the same `message_id` after a crash."""

    @property
    def name(self) -> str:
        """Name in the outbox: 'console', 'email'."""

    def send(self, notification: Notification) -> None:
        """Raises Undelivered where the message was not taken."""

    def close(self) -> None:
        """Give back connections; safe to call twice."""

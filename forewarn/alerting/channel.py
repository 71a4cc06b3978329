"""What a channel is, and what it is given to tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from forewarn.incidents.episodes import Episode
from forewarn.incidents.records import Incident

Receipt = Mapping[str, Any]  # what a channel needs to find its message again; kept in the outbox, so nothing secret


class Undelivered(Exception):  # noqa: N818  # it is the state of the message, not an error of ours
    """A channel did not take a message. `permanent`: another attempt is of no use.

    retry_seconds: when the receiver wants to be asked again, where it said so.
    """

    def __init__(self, reason: str, permanent: bool = False, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_seconds = retry_seconds


@dataclass(frozen=True, slots=True)
class Links:
    """Signed addresses: answers (a page with one button each) and the picture of the forecast; empty where not."""

    confirm: str = ""
    dismiss: str = ""
    acknowledge: str = ""
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about an incident: everything that a channel needs to render it.

    message_id: the same at each attempt. thread: those of the earlier messages about this incident that the channel
    took, oldest first. reason: 'opened', 'failed', 'resolved', 'withdrawn', 'expired', 'averted', 'reopened', or about
    what was told before: 'raised', 'updated', 'acknowledged', 'repeated'. subject: the same for all messages of the
    incident. cause: its first episode. others: the rest of them. why: why it is told, and why now. receipts: of the
    thread. labels: of the incident. shared: receipts that other open incidents stand under too. in_doubt: an
    earlier attempt was broken off by the end of the process, so the channel may have it already. located: what the
    telemetry around it adds to its cause, '' where nothing or where it has not been asked yet. responses: a sentence on
    each response that waits for an approval or was begun. clock: event clock of the namespace when it is sent; None: as
    at the prediction.
    """

    message_id: str
    thread: tuple[str, ...]
    reason: str
    incident: Incident
    subject: str
    cause: Episode
    others: tuple[Episode, ...]
    url: str
    why: str = ""
    receipts: tuple[Receipt, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    links: Links = Links()
    shared: tuple[Receipt, ...] = ()
    in_doubt: bool = False
    located: str = ""
    responses: tuple[str, ...] = ()
    clock: datetime | None = None


@dataclass(frozen=True, slots=True)
class Digest:
    """Several incidents in one message. held: they waited because of the channel's rate limit; else they are a group.

    message_id: of the batch. why: as decided.
    """

    message_id: str
    notifications: tuple[Notification, ...]
    held: bool
    why: str
    url: str
    in_doubt: bool = False


class Channel(Protocol):
    """Tells people. A message that was taken may come again with the same `message_id` after a crash."""

    @property
    def name(self) -> str:
        """Name in the outbox: 'console', 'email', or that of the alerting file."""

    def send(self, notification: Notification) -> Receipt | None:
        """Raises Undelivered where the message was not taken."""

    def send_digest(self, digest: Digest) -> Receipt | None:
        """The same for several at once."""

    def close(self) -> None:
        """Give back connections; safe to call twice."""


class KeepsAlive(Protocol):
    """A channel whose receiver forgets what it does not hear again."""

    refresh_seconds: float

    def refresh(self, notifications: Sequence[Notification]) -> None:
        """Say again what is still open. Raises Undelivered."""


def redacted(text: str, *secrets: str | None) -> str:
    """A text of a library or a server without our secrets in it, and not too long."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "•••")
    return text if len(text) <= 500 else f"{text[:499]}…"

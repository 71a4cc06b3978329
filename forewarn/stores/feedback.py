"""What engineers said: verdicts on incidents, and silences."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from forewarn.alerting.silences import Silence, check_silence

VERDICTS = ("confirmed", "dismissed", "averted", "acknowledged")


@dataclass(frozen=True, slots=True)
class Feedback:
    """A verdict: 'confirmed', 'dismissed' (a false alarm), 'averted' (someone acted) or 'acknowledged' (seen).

    It is on an incident, or on an episode and so on its incident. given_at: wall clock.
    """

    feedback_id: str
    incident_id: str | None
    episode: str | None
    verdict: str
    note: str
    author: str
    given_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def check_feedback(feedback: Feedback) -> Feedback:
    """Raises ValueError that says what is allowed."""
    if feedback.verdict not in VERDICTS:
        raise ValueError(f"verdict '{feedback.verdict}' is unknown: use one of {', '.join(VERDICTS)}")
    if feedback.incident_id is None and feedback.episode is None:
        raise ValueError("a verdict needs an incident or an episode that it is about")
    return feedback


def new_id() -> str:
    """Identity of a new verdict or silence."""
    return str(uuid.uuid4())


__all__ = ["Feedback", "FeedbackStore", "PostgresFeedback", "Silence", "check_silence", "new_id"]


class FeedbackStore(Protocol):
    """What engineers said, as a store."""

    def add(self, feedback: Feedback) -> bool:
        """Keep a verdict; False where it is there already. Raises ValueError for an unknown one."""

    def of(self, incident_id: str) -> list[Feedback]:
        """Verdicts on an incident, oldest first."""

    def latest(self, incident_ids: Sequence[str]) -> dict[str, Feedback]:
        """The last verdict on each of these incidents that has one."""

    def unhandled(self) -> list[Feedback]:
        """Verdicts that the alerter has not acted on yet, oldest first."""

    def mark_handled(self, feedback_id: str) -> None:
        """The alerter has acted on it."""

    def add_silence(self, silence: Silence) -> None:
        """Raises ValueError where it matches all or nothing."""

    def end_silence(self, silence_id: str, at: datetime) -> bool:
        """End a silence now; False where there is none that is still on."""

    def silences(self, at: datetime | None = None) -> list[Silence]:
        """Silences that are on at a time, or all; the one that ends first comes first."""


_SELECT = b"select feedback_id::text, incident_id::text, episode::text, verdict, note, author, given_at from feedback"


class PostgresFeedback:
    """FeedbackStore on a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def add(self, feedback: Feedback) -> bool:
        """See FeedbackStore."""
        f = check_feedback(feedback)
        done = self._connection.execute(
            b"insert into feedback (feedback_id, incident_id, episode, verdict, note, author, given_at)"
            b" values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            (f.feedback_id, f.incident_id, f.episode, f.verdict, f.note, f.author, f.given_at),
        )
        return done.rowcount == 1

    def of(self, incident_id: str) -> list[Feedback]:
        """See FeedbackStore."""
        cursor = self._connection.cursor(row_factory=class_row(Feedback))
        return cursor.execute(
            _SELECT + b" where incident_id = %s order by given_at, feedback_id",
            (incident_id,),
        ).fetchall()

    def latest(self, incident_ids: Sequence[str]) -> dict[str, Feedback]:
        """See FeedbackStore."""
        cursor = self._connection.cursor(row_factory=class_row(Feedback))
        rows = cursor.execute(
            _SELECT + b" where incident_id = any(%s::uuid[]) order by given_at, feedback_id",
            (list(incident_ids),),
        )
        return {f.incident_id: f for f in rows if f.incident_id is not None}

    def unhandled(self) -> list[Feedback]:
        """See FeedbackStore."""
        cursor = self._connection.cursor(row_factory=class_row(Feedback))
        return cursor.execute(_SELECT + b" where not handled order by given_at, feedback_id").fetchall()

    def mark_handled(self, feedback_id: str) -> None:
        """See FeedbackStore."""
        self._connection.execute(b"update feedback set handled = true where feedback_id = %s", (feedback_id,))

    def add_silence(self, silence: Silence) -> None:
        """See FeedbackStore."""
        s = check_silence(silence)
        self._connection.execute(
            b"insert into silences (silence_id, matcher, starts_at, ends_at, reason, author)"
            b" values (%s, %s, %s, %s, %s, %s)",
            (s.silence_id, Jsonb(dict(s.matcher)), s.starts_at, s.ends_at, s.reason, s.author),
        )

    def end_silence(self, silence_id: str, at: datetime) -> bool:
        """See FeedbackStore."""
        done = self._connection.execute(
            b"update silences set ends_at = greatest(%s, starts_at) where silence_id = %s and ends_at > %s",
            (at, silence_id, at),
        )
        return done.rowcount == 1

    def silences(self, at: datetime | None = None) -> list[Silence]:
        """See FeedbackStore."""
        cursor = self._connection.cursor(row_factory=class_row(Silence))
        return cursor.execute(
            b"select silence_id::text, matcher, starts_at, ends_at, reason, author from silences"
            b" where %s::timestamptz is null or (starts_at <= %s and ends_at > %s) order by ends_at, silence_id",
            (at, at, at),
        ).fetchall()

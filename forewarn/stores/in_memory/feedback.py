"""Verdicts and silences in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from forewarn.stores.feedback import Feedback, Silence, check_feedback, check_silence


class InMemoryFeedback:
    """FeedbackStore in dictionaries."""

    def __init__(self) -> None:
        self._feedback: dict[str, Feedback] = {}
        self._handled: set[str] = set()
        self._silences: dict[str, Silence] = {}

    def add(self, feedback: Feedback) -> bool:
        """See FeedbackStore."""
        new = feedback.feedback_id not in self._feedback
        self._feedback.setdefault(feedback.feedback_id, check_feedback(feedback))
        return new

    def of(self, incident_id: str) -> list[Feedback]:
        """See FeedbackStore."""
        return [f for f in self._feedback.values() if f.incident_id == incident_id]

    def latest(self, incident_ids: Sequence[str]) -> dict[str, Feedback]:
        """See FeedbackStore."""
        return {i: said[-1] for i in incident_ids if (said := self.of(i))}

    def unhandled(self) -> list[Feedback]:
        """See FeedbackStore."""
        return [f for f in self._feedback.values() if f.feedback_id not in self._handled]

    def mark_handled(self, feedback_id: str) -> None:
        """See FeedbackStore."""
        self._handled.add(feedback_id)

    def add_silence(self, silence: Silence) -> None:
        """See FeedbackStore."""
        self._silences[silence.silence_id] = check_silence(silence)

    def end_silence(self, silence_id: str, at: datetime) -> bool:
        """See FeedbackStore."""
        held = self._silences.get(silence_id)
        if held is None or held.ends_at <= at:
            return False
        self._silences[silence_id] = replace(held, ends_at=max(at, held.starts_at))
        return True

    def silences(self, at: datetime | None = None) -> list[Silence]:
        """See FeedbackStore."""
        found = [s for s in self._silences.values() if at is None or s.starts_at <= at < s.ends_at]
        return sorted(found, key=lambda s: (s.ends_at, s.silence_id))

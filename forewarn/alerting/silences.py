"""A silence: somebody said that nobody shall be told of what matches, until a moment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forewarn.alerting.matching import BUILT_IN, OWN_PREFIX, check_match, labels_of, matches
from forewarn.incidents.records import Incident

_OWN = re.compile(rf"{re.escape(OWN_PREFIX)}[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Silence:
    """Says nothing about incidents that match, from starts_at until ends_at (wall clock)."""

    silence_id: str
    matcher: Mapping[str, str | Sequence[str]]  # as in forewarn.alerting.matching; a missing label matches all
    starts_at: datetime
    ends_at: datetime
    reason: str
    author: str

    def matches(self, incident: Incident, at: datetime) -> bool:
        """Whether it covers the incident at this (wall clock) time."""
        return self.covers(labels_of(incident), at)

    def covers(self, labels: Mapping[str, str], at: datetime) -> bool:
        """The same, for labels that hold those of the alerting file as well."""
        return self.starts_at <= at < self.ends_at and matches(self.matcher, labels)


def check_silence(silence: Silence) -> Silence:
    """Raises ValueError that says what is wrong and what is allowed."""
    unknown = {name for name in silence.matcher if name not in BUILT_IN and not _OWN.fullmatch(name)}
    if unknown:
        raise ValueError(f"a silence cannot match '{min(unknown)}': use {', '.join(BUILT_IN)} or {OWN_PREFIX}NAME")
    if not silence.matcher:
        raise ValueError(f"a silence of everything is not allowed: name at least one of {', '.join(BUILT_IN)}")
    check_match(silence.matcher)
    if silence.ends_at <= silence.starts_at:
        raise ValueError("a silence must end after it starts")
    return silence

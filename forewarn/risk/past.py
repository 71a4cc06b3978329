"""What was told before a restart, for an engine that goes on from there."""

from dataclasses import dataclass, field
from datetime import datetime

from forewarn.risk.records import FailureObserved, Recovered, Risk

Key = tuple[str, str]  # entity, signal


@dataclass(frozen=True, slots=True)
class Past:
    """What was told of one namespace.

    scored_until: the last watermark; None where there is none: then nothing was scored to its end. risks: the open
    ones. predicted: when the last risk about each signal was predicted, whatever its state. events: the last of each
    signal that failed.
    """

    scored_until: datetime | None
    risks: dict[Key, Risk] = field(default_factory=dict)
    predicted: dict[Key, datetime] = field(default_factory=dict)
    events: dict[Key, FailureObserved | Recovered] = field(default_factory=dict)

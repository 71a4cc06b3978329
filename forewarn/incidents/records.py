"""An incident: what a person is told about, made of correlated risks."""

from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from forewarn.risk.quantities import format_instant
from forewarn.risk.records import SCHEMA_VERSION, Action, Driver, TimeToFailure

STATES = ("predicted", "firing", "resolved", "averted", "expired", "withdrawn", "merged")
SEVERITIES = ("info", "warning", "critical")
OUTCOMES = ("hit", "late", "miss", "averted", "expired", "dismissed")
_FRESH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Incident:
    """The current view of an incident; each change is another record with a higher `version`."""

    incident_id: str
    version: int
    state: str
    severity: str
    title: str
    entity: str  # the likely cause
    signal: str
    mode: str
    episodes: list[str]  # risk episodes that belong to it, the cause's first
    opened_at: datetime  # event time
    updated_at: datetime
    time_to_failure: TimeToFailure | None
    failed_at: datetime | None
    drivers: list[Driver]
    actions: list[Action]
    summary: str  # the one sentence a user must be able to trust
    schema_version: int = SCHEMA_VERSION
    merged_into: str = ""  # the incident that goes on instead of this one, which is 'merged'
    labels: dict[str, str] = field(default_factory=dict)  # of the rule that fired; beside those of the alerting file
    predicted_at: datetime | None = None  # event time that `time_to_failure` counts from

    @property
    def counts_from(self) -> datetime:
        """Event time that `time_to_failure` counts from; records of before this was said have `updated_at`."""
        return self.predicted_at or self.updated_at

    def elapsed_seconds(self, clock: datetime | None) -> float:
        """Event time since the prediction, by the namespace's clock; 0 where that is not known (None) or behind."""
        return max((clock - self.counts_from).total_seconds(), 0.0) if clock is not None else 0.0

    def summary_at(self, clock: datetime | None) -> str:
        """The sentence; its time counts from the prediction, so an older one says when that was."""
        if self.time_to_failure is None or self.elapsed_seconds(clock) < _FRESH_SECONDS:
            return self.summary
        return f"Predicted {format_instant(self.counts_from)}: {self.summary}"

    def time_left(self, clock: datetime | None) -> TimeToFailure | None:
        """The time to failure as it is at `clock`; a quantile that has passed is 0."""
        ttf, gone = self.time_to_failure, self.elapsed_seconds(clock)
        if ttf is None:
            return None
        p10, p50, p90 = (None if t is None else max(t - gone, 0.0) for t in (ttf.p10, ttf.p50, ttf.p90))
        return replace(ttf, p10=p10, p50=p50, p90=p90)


_decoder = msgspec.json.Decoder(Incident)


def encode_incident(incident: Incident) -> bytes:
    """JSON of an incident."""
    return msgspec.json.encode(incident)


def decode_incident(payload: bytes) -> Incident:
    """Raises msgspec.ValidationError with the path of what is wrong."""
    return _decoder.decode(payload)

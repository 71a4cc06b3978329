"""An episode: the run of predictions about one signal and what became of it, as grouping needs it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.risk.records import Risk

OPEN_STATES = ("predicted", "firing")


@dataclass(frozen=True, slots=True)
class Episode:
    """All that is known of an episode at one moment. Times are event times.

    first, risk: the first and the latest prediction; None where a failure came unpredicted.
    failed_at: when the failure came; recovered_at: when the signal was below its limit again.
    expired_at: set once the horizon of the latest prediction has passed without a failure.
    feedback: 'averted' or 'dismissed', where an engineer said so.
    """

    episode: str
    entity: str
    signal: str
    mode: str
    onset_at: datetime
    first: Risk | None = None
    risk: Risk | None = None
    failed_at: datetime | None = None
    recovered_at: datetime | None = None
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    predicted: bool = True
    expired_at: datetime | None = None
    feedback: str | None = None

    @property
    def state(self) -> str:
        """A failure outweighs what people or the predictor said before it."""
        if self.failed_at is not None:
            return "resolved" if self.recovered_at is not None else "firing"
        if self.feedback is not None:
            return "averted" if self.feedback == "averted" else "withdrawn"
        if self.risk is not None and self.risk.state == "withdrawn":
            return "withdrawn"
        return "expired" if self.expired_at is not None else "predicted"

    @property
    def is_open(self) -> bool:
        """Whether something is still to come of it, or is going on."""
        return self.state in OPEN_STATES

    @property
    def ends_at(self) -> datetime:
        """Until when it can explain other trouble: the recovery or failure, else the latest it may fail."""
        if self.failed_at is not None or self.risk is None:
            return max(self.recovered_at or self.failed_at or self.onset_at, self.onset_at)
        ttf = self.risk.time_to_failure
        seconds = ttf.p90 if ttf.p90 is not None else self.risk.horizon_seconds
        return self.risk.predicted_at + timedelta(seconds=seconds)

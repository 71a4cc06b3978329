"""The ledger's rules: what became of each prediction, and how often predictions of a kind came true."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from forewarn.risk.records import FailureObserved, Risk


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the ledger needs of a risk. Quantiles in seconds from `predicted_at`, None: beyond what can be said."""

    risk_id: str
    episode: str
    revision: int
    state: str
    entity: str
    signal: str
    mode: str
    predicted_at: datetime
    expires_at: datetime
    probability: float
    p10: float | None
    p50: float | None
    p90: float | None

    @classmethod
    def of(cls, risk: Risk) -> "Prediction":
        """The prediction that a risk makes."""
        ttf = risk.time_to_failure
        return cls(
            risk.risk_id,
            risk.episode,
            risk.revision,
            risk.state,
            risk.entity,
            risk.signal,
            risk.mode,
            risk.predicted_at,
            risk.expires_at,
            risk.probability,
            ttf.p10,
            ttf.p50,
            ttf.p90,
        )

    def covers(self, at: datetime) -> bool:
        """Whether it spoke of a failure at this time."""
        return self.predicted_at <= at <= self.expires_at


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a prediction. Each has exactly one.

    outcome: 'hit', 'late', 'expired', 'averted' or 'dismissed'. resolved_at, failed_at: event times.
    lead_seconds: failed_at - predicted_at. error_seconds: predicted median - lead; positive: it came earlier than said.
    inside_80: whether p10 <= lead <= p90.
    """

    prediction: Prediction
    outcome: str
    resolved_at: datetime
    failed_at: datetime | None = None
    lead_seconds: float | None = None
    error_seconds: float | None = None
    inside_80: bool | None = None


def outcome_of_failure(prediction: Prediction, failed_at: datetime, min_lead_seconds: float) -> Outcome | None:
    """'hit', or 'late' where the warning left less than the minimum useful lead; None where it did not cover it."""
    if not prediction.covers(failed_at):
        return None
    lead = (failed_at - prediction.predicted_at).total_seconds()
    low, high = (math.inf if q is None else q for q in (prediction.p10, prediction.p90))
    return Outcome(
        prediction,
        "hit" if lead >= min_lead_seconds else "late",
        resolved_at=failed_at,
        failed_at=failed_at,
        lead_seconds=lead,
        error_seconds=None if prediction.p50 is None else prediction.p50 - lead,
        inside_80=low <= lead <= high,
    )


def outcome_of_watermark(
    prediction: Prediction, watermark: datetime, acted_at: datetime | None = None
) -> Outcome | None:
    """'expired' once everything up to its horizon was seen; call it only where no failure was.

    acted_at: when something was done that changes what happens; what did not come after it was 'averted' then.
    """
    if prediction.expires_at >= watermark:
        return None
    if acted_at is not None and prediction.covers(acted_at):
        return Outcome(prediction, "averted", resolved_at=acted_at)
    return Outcome(prediction, "expired", resolved_at=prediction.expires_at)


def outcome_of_feedback(prediction: Prediction, verdict: str, at: datetime) -> Outcome | None:
    """'averted' and 'dismissed' resolve a prediction; 'confirmed' waits for what happens."""
    return Outcome(prediction, verdict, resolved_at=at) if verdict in ("averted", "dismissed") else None


def outcome_on_arrival(
    prediction: Prediction,
    failures: Iterable[datetime],
    watermark: datetime | None,
    feedback: str | None,
    min_lead_seconds: float,
) -> Outcome | None:
    """For a prediction that is read after what it is about: the ledger does not depend on the order of reading.

    failures: times at which its signal failed.
    """
    for failed_at in sorted(failures):
        outcome = outcome_of_failure(prediction, failed_at, min_lead_seconds)
        if outcome is not None:
            return outcome
    if feedback is not None:
        return outcome_of_feedback(prediction, feedback, prediction.predicted_at)
    return outcome_of_watermark(prediction, watermark) if watermark is not None else None


def settled(
    overdue: Iterable[Prediction],
    failures_of: Callable[[Prediction], Iterable[datetime]],
    watermark: datetime,
    min_lead_seconds: float,
) -> list[Outcome]:
    """Outcomes of predictions whose horizon has passed and that nobody resolved.

    failures_of: when the signal of a prediction failed within its horizon. watermark: everything before was read.
    """
    found = (outcome_on_arrival(p, failures_of(p), watermark, None, min_lead_seconds) for p in overdue)
    return [outcome for outcome in found if outcome is not None]


def episode_of_failure(failure: FailureObserved, predictions: Iterable[Prediction]) -> tuple[str | None, bool]:
    """The episode that spoke of a failure, and whether it counts as predicted.

    predictions: all of the failure's entity and signal. An episode that was withdrawn before does not count: people
    were told that it was over.
    """
    latest: dict[str, Prediction] = {}
    covered: dict[str, datetime] = {}
    for p in sorted((p for p in predictions if p.predicted_at <= failure.at), key=lambda p: p.revision):
        latest[p.episode] = p
        if p.covers(failure.at):
            covered[p.episode] = min(covered.get(p.episode, p.predicted_at), p.predicted_at)
    if not covered:
        return None, False
    open_ones = [e for e in covered if latest[e].state != "withdrawn"]
    chosen = min(open_ones or covered, key=lambda e: (covered[e], e))
    return chosen, bool(open_ones)


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How episodes ended, each counted once, by what became of its first prediction.

    hits, late: the failure came before the first prediction expired. expired: it did not, or the episode had been
    withdrawn before the failure. missed: failures without an open episode. averted ones are neither true nor false.
    """

    mode: str | None
    hits: int = 0
    late: int = 0
    expired: int = 0
    missed: int = 0
    averted: int = 0
    dismissed: int = 0

    @property
    def came_true(self) -> tuple[int, int] | None:
        """(true, resolved), None while nothing has been resolved. A dismissed prediction counts as not true."""
        resolved = self.hits + self.late + self.expired + self.dismissed
        return (self.hits + self.late, resolved) if resolved else None

    @property
    def sentence(self) -> str:
        """The last sentence of an incident's summary."""
        if self.came_true is None:
            return "No predictions of this kind have been resolved yet."
        true, resolved = self.came_true
        return f"Predictions like this one came true {true} time{'s' if true != 1 else ''} of {resolved} here."


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """First prediction's outcome of an episode, and whether the episode was withdrawn before the failure."""

    episode: str
    outcome: str
    withdrawn_before_failure: bool


def track_record(results: Iterable[EpisodeResult], missed: int, mode: str | None = None) -> TrackRecord:
    """Count the results of episodes; `missed` is the number of failures that had no open episode."""
    counts = dict.fromkeys(("hit", "late", "expired", "averted", "dismissed"), 0)
    for result in results:
        true = result.outcome in ("hit", "late")
        counts["expired" if true and result.withdrawn_before_failure else result.outcome] += 1
    return TrackRecord(
        mode,
        hits=counts["hit"],
        late=counts["late"],
        expired=counts["expired"],
        missed=missed,
        averted=counts["averted"],
        dismissed=counts["dismissed"],
    )

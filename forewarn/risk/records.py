"""What the predictor says, as records with a schema version: risks and observations."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

SCHEMA_VERSION = 1
_NAMESPACE = uuid.UUID("6f1d5a0e-7f0a-4c55-9a53-2f6c6f1f9d11")


@dataclass(frozen=True, slots=True)
class TimeToFailure:
    """Quantiles of the time from the prediction until the failure, in seconds, given that it comes in the next
    720 steps (12 h at 60 s; of a capacity forecast within 7 d); None where one cannot be said.
    """

    p10: float | None
    p50: float | None
    p90: float | None
    never: float  # probability that it does not happen within 1,440 steps (of a capacity forecast: within 7 d)


@dataclass(frozen=True, slots=True)
class Driver:
    """Something that pushes the risk, with its numbers."""

    entity: str
    signal: str
    text: str  # 'request rate of shop/api +38 %/h'
    contribution: float  # share of the risk, 0 to 1
    hypothesis: bool = False  # True where the deletion test was not passed or not made
    query: str = ""  # PromQL, LogQL or TraceQL that shows it; '' where none is known
    attributed: float | None = None  # share of the model's score by SHAP values of the signal's features, if it has any


@dataclass(frozen=True, slots=True)
class Action:
    """Advice from the catalogue, with computed numbers where there are some."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """History and forecast of the signal, for pictures. Times are seconds relative to `Risk.predicted_at`."""

    history_seconds: list[float] = field(default_factory=list)
    history_values: list[float | None] = field(default_factory=list)
    future_seconds: list[float] = field(default_factory=list)
    p10: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p90: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Risk:
    """One prediction. Never edited: a later one of the same episode has the same `episode`, a higher `revision`."""

    episode: str
    revision: int
    state: str  # 'open', 'update' or 'withdrawn'
    entity: str
    signal: str  # Series.name of the signal that reaches its limit
    mode: str  # failure mode of the catalogue, 'connection_exhaustion'
    predicted_at: datetime  # event time, UTC
    horizon_seconds: float
    probability: float  # of the failure within the horizon
    time_to_failure: TimeToFailure
    value: float
    limit: float
    unit: str
    drivers: list[Driver]
    evidence: list[str]  # sentences, each with its numbers
    actions: list[Action]
    forecast: Forecast
    model_version: str
    schema_version: int = SCHEMA_VERSION
    evidence_queries: list[str] = field(default_factory=list)  # one for each sentence of `evidence`, '' where none

    @property
    def risk_id(self) -> str:
        """The same for the same prediction, however often it is sent."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.episode}/{self.revision}"))

    @property
    def expires_at(self) -> datetime:
        """When the horizon has passed."""
        return self.predicted_at + timedelta(seconds=self.horizon_seconds)


def episode_of(entity: str, signal: str, mode: str, opened_at: datetime) -> str:
    """Identity of a run of predictions about one signal, from what it is about and when it began."""
    return str(uuid.uuid5(_NAMESPACE, f"{entity}|{signal}|{mode}|{opened_at.isoformat()}"))


class Observation(msgspec.Struct, frozen=True, tag_field="type"):
    """Something that the predictor saw in the telemetry and others need to know."""


class FailureObserved(Observation, frozen=True, tag="failure"):
    """A signal reached its limit (or broke its objective) at this event time."""

    entity: str
    signal: str
    mode: str
    at: datetime
    value: float
    limit: float


class Recovered(Observation, frozen=True, tag="recovered"):
    """A signal that had failed is below its limit again."""

    entity: str
    signal: str
    mode: str
    at: datetime


class Watermark(Observation, frozen=True, tag="watermark"):
    """The event clock of a namespace: everything up to here was seen, whatever fails later is new."""

    namespace: str
    at: datetime
    partitions: list[int] = []  # of `otlp_metrics` for which it holds; none: for all of the namespace


class AbstentionCode(StrEnum):
    """Kinds of reasons to say nothing, for programs; more may come."""

    NO_DATA = "no_data"
    LATE_DATA = "late_data"
    TOO_LITTLE_HISTORY = "too_little_history"
    MISSING_DATA = "missing_data"
    COUNTER_RESET = "counter_reset"
    NO_LIMIT = "no_limit"
    REGIME_CHANGE = "regime_change"
    EVICTION = "eviction"


class Abstained(Observation, frozen=True, tag="abstained"):
    """The predictor does not know, and says why ('too little history', 'no data' …); '': it knows again."""

    entity: str
    signal: str
    reason: str  # a sentence
    at: datetime
    code: str = ""  # an AbstentionCode; '' where it knows again, and in records of before there were codes


class UnusualSignal(msgspec.Struct, frozen=True):
    """A signal of an anomaly: its value that was furthest from usual, and between what 95 % of its past lay."""

    signal: str
    value: float | None
    usual_low: float | None
    usual_high: float | None
    share: float  # of the anomaly, 0 to 1


class AnomalyObserved(Observation, frozen=True, tag="anomaly"):
    """An entity behaves as its own past did not foretell. No failure is predicted by it, and nobody is paged.

    An anomaly is told twice: 'open' and, with the same `since`, 'ended'.
    """

    entity: str
    since: datetime  # when it opened; with the entity, its identity
    at: datetime
    state: str  # 'open' or 'ended'
    p_value: float  # share of usual stretches of 45 steps that are somewhere as unusual
    drivers: list[UnusualSignal]  # those that contribute most first; none when it ended
    text: str


AnyObservation = FailureObserved | Recovered | Watermark | Abstained | AnomalyObserved

_risk_decoder = msgspec.json.Decoder(Risk)
_observation_decoder = msgspec.json.Decoder(AnyObservation)


def encode(record: Risk | Observation) -> bytes:
    """JSON of a record, as it is on the topics and in the stores."""
    return msgspec.json.encode(record)


def decode_risk(payload: bytes) -> Risk:
    """Raises msgspec.ValidationError with the path of what is wrong."""
    return _risk_decoder.decode(payload)


def decode_observation(payload: bytes) -> AnyObservation:
    """Raises msgspec.ValidationError with the path of what is wrong."""
    observation: AnyObservation = _observation_decoder.decode(payload)
    return observation

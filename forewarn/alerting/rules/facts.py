"""What a condition is evaluated on: newest samples, limits, open risks and capacity forecasts of one moment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from forewarn.alerting.timing import breach_probability
from forewarn.risk.records import TimeToFailure
from forewarn.telemetry.samples import namespace_of

STALE = timedelta(minutes=5)  # a sample older than this, by the event clock, says nothing about now
ANY = "any"
SATURATION = "saturation"  # any mode but those of a broken objective
_OBJECTIVES = frozenset({"error_rate_climb", "latency_breach"})

Attributes = tuple[tuple[str, str], ...]


class UnknownError(Exception):
    """A condition asks for what is not known; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Window:
    """A signal over a window. rate: growth per second, falls (resets of a counter) left out; None below two samples."""

    mean: float
    minimum: float
    maximum: float
    rate: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest sample of a series, None where the series is silent. limit: None where none is known.

    windows: by their length in seconds.
    """

    signal: str
    attributes: Attributes
    unit: str
    value: float | None
    at: datetime | None
    limit: float | None = None
    windows: Mapping[float, Window] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As a series is written: `signal{key=value}`."""
        inner = ",".join(f"{key}={value}" for key, value in self.attributes)
        return f"{self.signal}{{{inner}}}" if inner else self.signal


@dataclass(frozen=True, slots=True)
class OpenRisk:
    """The newest revision of a prediction that is still open."""

    signal: str
    mode: str
    predicted_at: datetime
    horizon_seconds: float
    probability: float
    time_to_failure: TimeToFailure

    def probability_within(self, seconds: float, at: datetime) -> float:
        """Of the failure within so many seconds from `at`, given that it has not come yet."""
        elapsed = max((at - self.predicted_at).total_seconds(), 0.0)
        if self.time_to_failure.p50 is None:
            return self.probability if elapsed + seconds >= self.horizon_seconds else 0.0
        return min(max(breach_probability(self.time_to_failure, elapsed, seconds), 0.0), 1.0)

    def seconds_left(self, quantile: str, at: datetime) -> float:
        """Until this quantile of the failure's time; infinite where it lies beyond what is foreseen."""
        seconds: float | None = getattr(self.time_to_failure, quantile)
        return math.inf if seconds is None else seconds - (at - self.predicted_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Filling:
    """A capacity forecast. within: (seconds from made_at, probability), rising; quantiles: None beyond a week."""

    signal: str
    mode: str
    made_at: datetime
    within: tuple[tuple[float, float], ...]
    quantiles: Mapping[str, float | None]

    def probability_within(self, seconds: float, at: datetime) -> float:
        """Linear between the horizons that were forecast."""
        elapsed = max((at - self.made_at).total_seconds(), 0.0)
        before, after = (self._until(s) for s in (elapsed, elapsed + seconds))
        return max(after - before, 0.0) / (1.0 - before) if before < 1.0 else 1.0

    def seconds_left(self, quantile: str, at: datetime) -> float:
        """See OpenRisk."""
        seconds = self.quantiles.get(quantile)
        return math.inf if seconds is None else seconds - (at - self.made_at).total_seconds()

    def _until(self, seconds: float) -> float:
        t0, p0 = 0.0, 0.0
        for t1, p1 in self.within:
            if seconds <= t1:
                return p0 + (p1 - p0) * (seconds - t0) / (t1 - t0)
            t0, p0 = t1, p1
        return p0


@dataclass(frozen=True, slots=True)
class Facts:
    """All of one moment. clocks: event clocks of namespaces. readings: entity -> signal -> series, by name."""

    clocks: Mapping[str, datetime]
    readings: Mapping[str, Mapping[str, Sequence[Reading]]] = field(default_factory=dict)
    risks: Mapping[str, Sequence[OpenRisk]] = field(default_factory=dict)
    fillings: Mapping[str, Sequence[Filling]] = field(default_factory=dict)

    def clock(self, entity: str) -> datetime | None:
        """Event time at the entity; None where nothing of its namespace was ever seen."""
        return self.clocks.get(namespace_of(entity))


@dataclass(frozen=True, slots=True)
class Subject:
    """What a condition is about in one evaluation: an entity and, where a signal is named, one series of it."""

    entity: str
    at: datetime
    facts: Facts
    series: Reading | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def series_name(self) -> str:
        """'' where the condition is about the entity alone."""
        return self.series.name if self.series is not None else ""

    def reading(self, signal: str, attributes: Mapping[str, str]) -> Reading:
        """The series of this signal: the one that is looked at, else one with its attributes, else the only one.

        Raises UnknownError where there is none or where it is not clear which.
        """
        wanted = attributes.items()
        known = self.facts.readings.get(self.entity, {}).get(signal, ())
        found = [r for r in known if wanted <= dict(r.attributes).items()]
        if not found:
            raise UnknownError(f"{self.entity} sends no {_series(signal, attributes)}")
        mine = self.series.attributes if self.series is not None else ()
        exact = [r for r in found if r.attributes == mine]
        if exact or len(found) == 1:
            return (exact or found)[0]
        raise UnknownError(f"{self.entity} has {len(found)} series of {signal}: name one, such as '{found[0].name}'")

    def foreseen(self, mode: str) -> list[OpenRisk | Filling]:
        """Open risks and capacity forecasts of the entity; of one mode, 'saturation' or 'any'."""
        known: list[OpenRisk | Filling] = [*self.facts.risks.get(self.entity, ())]
        known += self.facts.fillings.get(self.entity, ())
        if mode == SATURATION:
            return [one for one in known if one.mode not in _OBJECTIVES]
        return [one for one in known if mode in (ANY, one.mode)]


def _series(signal: str, attributes: Mapping[str, str]) -> str:
    inner = ", ".join(f"{k}={v}" for k, v in sorted(attributes.items()))
    return f"'{signal}'" + (f" with {inner}" if inner else "")

"""What the shop told: metrics as arrays, what happened, and the order in which it is sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from forewarn.simulation.failures import Happening
from forewarn.simulation.noise import Floats
from forewarn.simulation.scenarios import Injection
from forewarn.telemetry.limits import limited_signal
from forewarn.telemetry.samples import Series

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class EntityRecording:
    """Metrics of one entity.

    values: [S, T] as sent, NaN where a sample is missing; complete: [S, T] without gaps.
    starts_ns: int64 [T], when the process that runs at that time started (counters count since then).
    """

    entity: str
    series: tuple[Series, ...]
    values: Floats
    complete: Floats
    starts_ns: NDArray[np.int64]

    def of(self, signal: str) -> Floats:
        """Complete values of a signal [T]. Raises KeyError for one that this entity does not send."""
        for i, series in enumerate(self.series):
            if series.signal == signal:
                return self.complete[i]
        raise KeyError(f"{self.entity} sends no {signal}")

    def limits(self) -> list[tuple[int, int]]:
        """Which series (first) has its limit in which (second)."""
        position = {series.signal: i for i, series in enumerate(self.series)}
        pairs = ((limited_signal(series.signal), i) for i, series in enumerate(self.series))
        return [(position[signal], i) for signal, i in pairs if signal in position]


@dataclass(frozen=True, slots=True)
class InjectionOutcome:
    """What became of an injection: when its signal reached the limit and when it was repaired, if they were."""

    injection: Injection
    entity: str
    failed_at: datetime | None
    repaired_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrueFailure:
    """A signal that was at its limit from `begin` to `end` (the last such step)."""

    entity: str
    signal: str
    begin: datetime
    end: datetime


@dataclass(frozen=True, eq=False)
class Recording:
    """A run of the shop. times_ns: int64 [T], event time, `step_seconds` apart."""

    namespace: str
    step_seconds: float
    seed: int
    times_ns: NDArray[np.int64]
    entities: tuple[EntityRecording, ...]
    happenings: tuple[Happening, ...]
    outcomes: tuple[InjectionOutcome, ...]

    def entity(self, service: str) -> EntityRecording:
        """Metrics of a service. Raises KeyError."""
        return {one.entity: one for one in self.entities}[f"{self.namespace}/{service}"]

    def time_of(self, seconds: float) -> datetime:
        """Event time, UTC, so many seconds after the start."""
        return datetime.fromtimestamp(int(self.times_ns[0]) / NANOSECONDS + seconds, UTC)

    def failures(self, calm_seconds: float = 1800) -> list[TrueFailure]:
        """Each time that a limited signal reached its limit; returns within `calm_seconds` are the same failure."""
        found = []
        for entity in self.entities:
            for signal, limit in entity.limits():
                at_limit = np.flatnonzero(entity.complete[signal] >= entity.complete[limit])
                for run in _runs(at_limit, int(calm_seconds / self.step_seconds)):
                    begin, end = (self.time_of(float(k) * self.step_seconds) for k in run)
                    found.append(TrueFailure(entity.entity, entity.series[signal].signal, begin, end))
        return sorted(found, key=lambda failure: failure.begin)

    def chunks(self, width_seconds: float, begin_ns: int | None = None, end_ns: int | None = None) -> Iterator[slice]:
        """Steps in pieces of at most `width_seconds`, in order of time, from `begin_ns` to before `end_ns`."""
        first = 0 if begin_ns is None else int(np.searchsorted(self.times_ns, begin_ns))
        last = len(self.times_ns) if end_ns is None else int(np.searchsorted(self.times_ns, end_ns))
        width = max(1, int(width_seconds / self.step_seconds))
        return (slice(k, min(k + width, last)) for k in range(first, last, width))


def _runs(steps: NDArray[np.intp], calm_steps: int) -> list[tuple[int, int]]:
    """First and last of each group of steps that are at most `calm_steps` apart."""
    if not len(steps):
        return []
    cuts = np.flatnonzero(np.diff(steps) > max(1, calm_steps))
    return [(int(group[0]), int(group[-1])) for group in np.split(steps, cuts + 1)]

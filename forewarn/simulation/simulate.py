"""From a start, a length and a seed to a recording of the shop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from forewarn.simulation import schedule
from forewarn.simulation.demand import epoch_seconds, outside
from forewarn.simulation.failures import Failure
from forewarn.simulation.noise import Floats, Noise
from forewarn.simulation.recording import NANOSECONDS, EntityRecording, InjectionOutcome, Recording
from forewarn.simulation.scenarios import Injection
from forewarn.simulation.shop import Shop
from forewarn.simulation.topology import SERVICES, series_of

_DROPPED_SHARE = 0.002
_GAPS_PER_DAY = 0.4  # of each service's collector
_GAP_SECONDS = (120, 900)


@dataclass(frozen=True, slots=True)
class Plan:
    """A history and a live day of one run: the same arguments make the same arrays."""

    end: datetime  # of the live day, UTC
    history_days: float = 14.0
    live_hours: float = 24.0
    scenario: str = "none"
    seed: int = 7
    step_seconds: float = 60.0
    namespace: str = "shop"
    utc_offset_hours: float = 0.0  # of the shop's local time, by which people shop, jobs run and versions are deployed
    releases: tuple[schedule.Release, ...] = ()

    @property
    def live_from(self) -> datetime:
        """Where history ends and the live day begins."""
        return self.end - timedelta(hours=self.live_hours)

    @property
    def start(self) -> datetime:
        """The first sample's time."""
        return self.live_from - timedelta(days=self.history_days)

    def injections(self) -> list[Injection]:
        """All failures of history and live day. Raises KeyError for an unknown scenario."""
        live_begin = self.history_days * 86_400
        past = schedule.history(self.history_days, self.seed) if self.history_days >= 1 else []
        return past + schedule.live_day(self.scenario, live_begin, self.live_hours, self.seed)

    def record(self) -> Recording:
        """Simulate it all."""
        hours = self.history_days * 24 + self.live_hours
        return simulate(
            self.start, hours, self.step_seconds, self.seed, self.injections(), self.namespace, self.utc_offset_hours,
            self.releases,
        )  # fmt: skip

    def placed(self, local_hour: float) -> "Plan":
        """The same run of a shop that stands where it is `local_hour` o'clock when the live day begins.

        Whenever it is run, its live day is then the same part of a day; days of the week stay those of the calendar.
        """
        return replace(self, utc_offset_hours=utc_offset_hours(self.live_from, local_hour))


def utc_offset_hours(at: datetime, local_hour: float) -> float:
    """Offset of a place where it is `local_hour` o'clock at `at`, as there are on earth: by quarters of an hour, from
    -12 to below 12."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = local_hour - (at - midnight).total_seconds() / 3600
    return (round(4 * hours) / 4 + 12) % 24 - 12


def simulate(
    start: datetime,
    hours: float,
    step_seconds: float = 60.0,
    seed: int = 7,
    injections: Sequence[Injection] = (),
    namespace: str = "shop",
    utc_offset_hours: float = 0.0,
    releases: Sequence[schedule.Release] = (),
) -> Recording:
    """Run the shop for `hours` from `start` (with a time zone). Raises ValueError for nothing to simulate.

    utc_offset_hours: of the shop's local time; its days and weeks follow that, its samples carry UTC.
    """
    steps = int(hours * 3600 / step_seconds)
    if steps < 1:
        raise ValueError(f"{hours:g} h in steps of {step_seconds:g} s: there is nothing to simulate")
    epoch = epoch_seconds(start, steps, step_seconds)
    local = epoch + utc_offset_hours * 3600
    noise = Noise(seed, steps, step_seconds)
    world = outside(local, noise)
    length = steps * step_seconds
    failures = [Failure(one, local, world, step_seconds) for one in injections if one.onset_seconds < length]
    shop = Shop(noise, world, failures, schedule.deploys(local, noise), releases)
    shop.run()
    times_ns = np.round(epoch * 1000).astype(np.int64) * (NANOSECONDS // 1000)
    entities = tuple(_entity(namespace, service, shop, noise, int(times_ns[0])) for service in SERVICES)
    recording = Recording(namespace, step_seconds, seed, times_ns, entities, tuple(shop.happenings), ())
    return _with_outcomes(recording, failures)


def _entity(namespace: str, service: str, shop: Shop, noise: Noise, first_ns: int) -> EntityRecording:
    complete = np.ascontiguousarray(np.array(shop.rows[service], np.float64).T)
    starts = np.array(shop.starts[service])
    return EntityRecording(
        entity=f"{namespace}/{service}",
        series=series_of(namespace, service),
        values=_with_gaps(complete, service, noise),
        complete=complete,
        starts_ns=first_ns + (starts * NANOSECONDS).astype(np.int64),
    )


def _with_gaps(complete: Floats, service: str, noise: Noise) -> Floats:
    """Single samples get lost, and now and then a collector is away for some minutes."""
    rng = noise.generator(f"{service}-gaps")
    values = np.where(rng.random(complete.shape) < _DROPPED_SHARE, np.nan, complete)
    days = noise.steps * noise.step_seconds / 86_400
    for _ in range(rng.poisson(_GAPS_PER_DAY * days)):
        begin, lasts = int(rng.integers(noise.steps)), rng.uniform(*_GAP_SECONDS) / noise.step_seconds
        values[:, begin : begin + max(1, int(lasts))] = np.nan
    return np.asarray(values, np.float64)


def _with_outcomes(recording: Recording, failures: Sequence[Failure]) -> Recording:
    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else recording.time_of(seconds)

    outcomes = tuple(
        InjectionOutcome(
            failure.injection,
            f"{recording.namespace}/{failure.injection.variant.service}",
            at(failure.failed_at),
            at(failure.repaired_at),
        )
        for failure in failures
    )
    return replace(recording, outcomes=outcomes)

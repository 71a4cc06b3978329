"""A failure on its way through the shop: it grows, reaches the limit, is repaired."""

from dataclasses import dataclass

import numpy as np

from forewarn.simulation.calibration import amplitude
from forewarn.simulation.demand import Outside, usual_requests
from forewarn.simulation.faults import Faults
from forewarn.simulation.noise import Floats
from forewarn.simulation.scenarios import Injection, growth
from forewarn.simulation.topology import signal_index


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that people would tell each other; `kind`: deployment, restart, onset, failure, repair or averted."""

    seconds: float  # since the start of the simulation
    service: str
    kind: str
    text: str


class Failure:
    """State of one injection; `advance` is called once a step while it is not `over`."""

    def __init__(self, injection: Injection, epoch: Floats, outside: Outside, step_seconds: float) -> None:
        self.injection = injection
        self.first_step = int(np.ceil(injection.onset_seconds / step_seconds))
        self.failed_at: float | None = None
        self.repaired_at: float | None = None
        self.over = False
        self._step_seconds = step_seconds
        self._sizes, self._growth = self._grow(epoch, outside)
        variant = injection.variant
        self._value = signal_index(variant.service, variant.signal)
        limit = "db.client.connections.max" if variant.signal == "db.client.connections.usage" else ""
        self._limit = signal_index(variant.service, limit or f"{variant.signal}.limit")
        self._last_size = 0.0

    def _grow(self, epoch: Floats, outside: Outside) -> tuple[list[float], list[float]]:
        """Size of the fault and its growth at each step from the onset on, as long as the simulation lasts."""
        ramp = max(2, int(np.ceil(self.injection.duration_seconds / self._step_seconds)))
        steps = max(ramp + 2, len(epoch) - self.first_step)
        times = epoch[0] + (self.first_step + np.arange(steps)) * self._step_seconds
        load, messages = usual_requests(times), np.zeros(steps)
        known = outside.requests[self.first_step :]
        load[: len(known)] = known
        messages[: len(known)] = outside.batch_messages[self.first_step :]
        since = np.arange(steps) * self._step_seconds
        curve = growth(self.injection, since, load)
        if self.injection.variant.service == "worker" and "queue" in self.injection.variant.signal:
            curve = 0.5 + 0.5 * curve  # consumers have room to spare: a backlog begins when enough of them are gone
        size = amplitude(self.injection.variant.fault, curve[:ramp], load[:ramp], messages[:ramp], self._step_seconds)
        return (size * curve).tolist(), curve.tolist()

    def apply(self, k: int, faults: Faults) -> None:
        """Add this failure's part to what is broken in step `k`."""
        if self.repaired_at is None:
            self._last_size = self._sizes[k - self.first_step]
            size = self._last_size
        else:
            gone = (k * self._step_seconds - self.repaired_at) / self.injection.variant.fade_seconds
            size = self._last_size * max(0.0, 1 - gone)
            self.over = gone >= 1
        fault = self.injection.variant.fault
        setattr(faults, fault, getattr(faults, fault) + size)

    def observe(self, k: int, row: tuple[float, ...]) -> str:
        """What follows from the values of step `k`: 'failure', 'repair', 'averted' or nothing ('')."""
        if self.repaired_at is not None:
            return ""
        now, ratio = k * self._step_seconds, row[self._value] / row[self._limit]
        if self.failed_at is None and ratio >= 1:
            self.failed_at = now
            return "failure"
        if self._is_time(now, ratio, self._growth[k - self.first_step]):
            self.repaired_at = now
            return "repair" if self.failed_at is not None else "averted"
        return ""

    def _is_time(self, now: float, ratio: float, grown: float) -> bool:
        """Whether it is repaired now: some time after it failed, or, for a near miss, when somebody notices."""
        injection = self.injection
        if self.failed_at is not None:
            return now - self.failed_at >= injection.repair_after_seconds
        enough = 0.5 if injection.variant.abrupt else 0.9
        noticed = injection.stop_at is not None and (grown > enough or (grown > 0.2 and ratio >= injection.stop_at))
        return noticed or now - injection.onset_seconds > 4 * injection.duration_seconds

"""Signals that run into their limits one after the other, at 60 times the speed of the clock: something to predict."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.load import Lane
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import Series

NAMESPACE = "ramps"
SIGNAL, LIMIT = "process.memory.usage", 1e9
CELL_NS = 60 * 10**9
HISTORY_CELLS = 300  # sent at once, for the windows
RAMP, FULL = 180, 8  # cells: it rises, stays at its limit; then it is well again
CELL_SECONDS = 1.0  # of wall time
_HISTORY_SECONDS = 0.01  # the same of the history
LONGEST_CELLS = 1300  # more than a run has


@dataclass(frozen=True, slots=True)
class Rise:
    """One time that an entity rises to its limit and is mended; event time in nanoseconds."""

    entity: str
    begins: int
    ends: int


class Ramps:
    """One sender of a cell of all entities every CELL_SECONDS; each entity fails once."""

    def __init__(self, gateway: Callable[[], str], entities: int = 120) -> None:
        hours_back = (LONGEST_CELLS + HISTORY_CELLS) / 60
        self.start_ns = (time.time_ns() - int(hours_back * 3600e9)) // CELL_NS * CELL_NS
        self._values, self.rises = _plan(entities, self.start_ns)
        self._names = [_name(i) for i in range(entities)]
        self._series = [(Series(n, SIGNAL, unit="By"), Series(n, f"{SIGNAL}.limit", unit="By")) for n in self._names]
        self._lane = Lane("ramps", "/v1/metrics", self._body, _HISTORY_SECONDS)
        self._gateway, self._stop = gateway, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Send the history, then live cells."""
        self._thread.start()

    def stop(self) -> None:
        """End after the cell at hand."""
        self._stop.set()
        self._thread.join(30)

    @property
    def clock_ns(self) -> int:
        """Event time of the newest cell that was accepted."""
        accepted = self._lane.accepted
        return self.start_ns + (accepted[-1].number if accepted else -1) * CELL_NS

    @property
    def cells(self) -> int:
        """How many were accepted."""
        return len(self._lane.accepted)

    @property
    def live(self) -> bool:
        """Whether the history was sent."""
        return len(self._lane.accepted) > HISTORY_CELLS

    def moment_of(self, event_ns: int) -> float | None:
        """When the cell of an event time was accepted, in monotonic seconds; None where it was not."""
        accepted, number = self._lane.accepted, (event_ns - self.start_ns) // CELL_NS
        return accepted[number].at if 0 <= number < len(accepted) else None

    def _run(self) -> None:
        self._lane.run(self._gateway, lambda: 0, self._stop)

    def _body(self, number: int, _: int) -> bytes:
        self._lane.period_seconds = _HISTORY_SECONDS if number < HISTORY_CELLS else CELL_SECONDS
        times: NDArray[np.int64] = np.array([self.start_ns + number * CELL_NS])
        return b"".join(
            encode_metrics(name, series, times, self._values[i][:, number : number + 1])
            for i, (name, series) in enumerate(zip(self._names, self._series, strict=True))
        )


def _plan(entities: int, start_ns: int) -> tuple[list[NDArray[np.float64]], list[Rise]]:
    """Use and limit of each entity, float64 [2, cells], and every rise. They begin evenly over time."""
    values, rises = [], []
    for entity in range(entities):
        rng = np.random.default_rng(entity)
        use = 3e8 + rng.normal(0, 1e6, HISTORY_CELLS + LONGEST_CELLS)
        begin = HISTORY_CELLS + int((entity + rng.uniform()) * (LONGEST_CELLS - RAMP) / entities)
        risen = np.clip(np.arange(RAMP + FULL) / RAMP, 0, 1)
        use[begin : begin + RAMP + FULL] += (risen * (LIMIT - 3e8) * 1.01)[: len(use) - begin]
        ends = begin + RAMP + FULL
        rises.append(Rise(_name(entity), start_ns + begin * CELL_NS, start_ns + ends * CELL_NS))
        values.append(np.vstack([use, np.full(len(use), LIMIT)]))
    return values, rises


def _name(entity: int) -> str:
    return f"{NAMESPACE}/svc-{entity:03d}"

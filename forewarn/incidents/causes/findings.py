"""What was found unusual about an entity while an incident began, in amounts that can be compared between entities."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

Kind = Literal["time", "errors", "resource", "log", "work"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One unusual thing.

    amount: how much of it there is beyond what noise explains, comparable within a kind: extra requests in flight
    (arrival rate × extra latency, Little's law) for time, extra failed requests for errors, robust deviations else.
    deviation: in robust standard deviations of what was usual before.
    size: how large the change is, 0 to 1 (the share of a latency that is new, of a CPU limit, of the calls that are
    missing): a change can be far outside what is usual and still be nothing. text: a sentence with its numbers; query:
    PromQL, LogQL or TraceQL that shows them, '' where none is known.
    """

    entity: str
    kind: Kind
    amount: float
    deviation: float
    size: float
    text: str
    query: str = ""


def part(change: float, level: float) -> float:
    """The share of a level after a change that the change makes up, 0 to 1."""
    after = abs(level) + abs(change)
    return abs(change) / after if after > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """The beginning of an incident, nanoseconds since 1970 UTC: what came before `start` is compared with what
    came until `end`. `unusual` are earlier incidents, which are no baseline."""

    start: int
    end: int
    unusual: tuple[tuple[int, int], ...] = ()

    def during(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the times belong to the incident."""
        return (times >= self.start) & (times < self.end)

    def before(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the times tell what is usual: nothing that came after the start."""
        usual = times < self.start
        for first, last in self.unusual:
            usual &= ~((times >= first) & (times < last))
        return usual


def spread(values: F64, floor: float = 0.0) -> float:
    """Robust standard deviation: the larger of median and 80 % quantile of |x - median|, scaled as for a normal.

    The quantile keeps a series that is mostly constant and sometimes jumps from looking exact; a fifth of the values
    may still belong to trouble that nobody noted.
    """
    away = np.abs(values - np.median(values))
    return float(max(1.4826 * np.median(away), np.quantile(away, 0.8) / 1.2816, floor))

"""Failed disks that a weekly alert budget catches in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.smart.history import Floats, History, Ints

BUDGET = 0.01  # share of the running disks that may be alerted a week


@dataclass(frozen=True, slots=True, eq=False)
class Week:
    """The disks [n] running at the midnight `day`, and their scores [n] by method: the higher, the sooner to fail."""

    day: int
    disk: Ints
    scores: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Caught:
    """disk: [n] those that failed at most the horizon after one of the weeks. caught: [n], alerted within it."""

    disk: Ints
    caught: NDArray[np.bool_]

    @property
    def recall(self) -> float:
        """Share caught; NaN where no disk failed."""
        return float(self.caught.mean()) if len(self.caught) else float("nan")


def drive_recall(history: History, weeks: Sequence[Week], method: str, horizon: int, hold: int = 0) -> Caught:
    """Which failed disks were among the top 1 % of a week at most `horizon` days before they failed.

    weeks: those whose horizon ends within the data; a disk counts where it ran in one of them at most `horizon` days
    before it failed. hold: days for which an alert stands, so that the disk is not alerted again; 0 ranks every
    week for itself. The budget is the same in both: 1 % of the disks that run that week, rounded, at least one.
    """
    due, hits = np.zeros((2, len(history.end)), dtype=bool)
    alerted = np.full(len(history.end), -(10**9))
    for week in weeks:
        fails = _fails(history, week, horizon)
        due[week.disk[fails]] = True
        top = _top(week, method, alerted, hold)
        alerted[week.disk[top]] = week.day
        hits[week.disk[top[fails[top]]]] = True
    disk = np.flatnonzero(due)
    return Caught(disk, hits[disk])


def _fails(history: History, week: Week, horizon: int) -> NDArray[np.bool_]:
    left = history.end[week.disk] - week.day
    return history.failed[week.disk] & (left > 0) & (left <= horizon)


def _top(week: Week, method: str, alerted: Ints, hold: int) -> Ints:
    """Places of the alerted disks, best first; equal scores in an order that does not depend on the disk."""
    budget = max(1, round(BUDGET * len(week.disk)))
    scores = week.scores[method]
    ties = np.random.default_rng(week.day).random(len(scores))
    order = np.lexsort((ties, -scores))
    free = alerted[week.disk[order]] <= week.day - hold
    return order[free][:budget]

"""What the other disks of a model, and those taken into service with it, did up to a midnight."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, F32, FIVE, Floats, History, Ints

_WINDOWS = (30, 90, 365)  # days over which failures are counted
_PRIOR = 20.0  # disks at the whole fleet's rate that stand beside a group's own
_COHORT_DAYS = 28  # disks of a model first seen so close together were bought and racked together
NAMES = tuple(
    f"{what}_{group}" for group in ("model", "cohort") for what in (*(f"failed_{w}d" for w in _WINDOWS), "symptoms")
)


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """groups: codes [D] of model and of cohort."""

    history: History
    groups: tuple[Ints, Ints]

    @classmethod
    def of(cls, history: History) -> "Fleet":
        """Groups are named by what was known when a disk was first seen."""
        cohort, _ = pd.factorize(history.model * 100_000 + history.begin // _COHORT_DAYS)
        return cls(history, (history.model, cohort.astype(np.int64)))

    def at(self, disk: Ints, day: Ints) -> F32:
        """[n, 8]: share of a disk's group that failed within each window up to `day`, and that shows a symptom then.

        Only failures that had happened by `day` are counted.
        """
        table = np.empty((len(disk), len(NAMES)), dtype=np.float32)
        for one in np.unique(day):
            here = day == one
            table[here] = self._on(int(one), disk[here])
        return table

    def _on(self, day: int, disk: Ints) -> Floats:
        h = self.history
        running = h.running(day)
        shows = symptomatic(h, running, np.full(len(running), day))
        gone = [np.flatnonzero(h.failed & (h.end <= day) & (h.end > day - w)) for w in _WINDOWS]
        marked = [*gone, running[shows]]
        columns = []
        for group in self.groups:
            size = np.bincount(group[running], minlength=int(group.max()) + 1)
            for disks in marked:
                usual = len(disks) / max(1, len(running))
                share = (np.bincount(group[disks], minlength=len(size)) + _PRIOR * usual) / (size + _PRIOR)
                columns.append(share[group[disk]])
        return np.stack(columns, axis=1)


def symptomatic(history: History, disk: Ints, day: Ints) -> NDArray[np.bool_]:
    """[n]: whether any of the five attributes of damage is above 0; the disk must be known by `day`."""
    places = [ATTRIBUTES.index(a) for a in FIVE]
    row = history.row_at(disk, day)
    shows = np.zeros(len(disk), dtype=np.bool_)
    for place in places:
        shows |= history.values[row, place] > 0
    return shows

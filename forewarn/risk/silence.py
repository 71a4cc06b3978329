"""Why nothing is said about a signal: typed reasons, one for each row of a snapshot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import INDEX
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.risk.records import AbstentionCode
from forewarn.telemetry.samples import Series

ENOUGH_STEPS = 60  # history below which nothing is predicted
NO_DATA, LATE, TOO_LITTLE, MISSING, RESTARTS, NO_LIMIT, REGIME, EVICTION = range(1, 9)
_MUCH_MISSING = 0.5  # share of the last 60 steps
_LATE_STEPS = 60  # how far behind the clock data may be and still count as late


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason: its code for programs, its sentence for people (with places for numbers)."""

    code: str
    sentence: str


REASONS = (
    Reason("", ""),
    Reason(AbstentionCode.NO_DATA, "no data in the last five steps"),
    Reason(AbstentionCode.LATE_DATA, "data come late, more than five steps behind the others"),
    Reason(AbstentionCode.TOO_LITTLE_HISTORY, "too little history: {enough} steps of {step:g} s are needed"),
    Reason(AbstentionCode.MISSING_DATA, "more than half of the last 60 steps are missing"),
    Reason(AbstentionCode.COUNTER_RESET, "restarted again and again, more than half of the last 60 steps are missing"),
    Reason(AbstentionCode.NO_LIMIT, "the limit is not a positive number"),
    Reason(AbstentionCode.REGIME_CHANGE, "{note}"),
    Reason(
        AbstentionCode.EVICTION,
        "about to reach the memory of a store that may evict: whether it evicts or refuses is about to be seen",
    ),
)


class Latecomers:
    """Tells signals whose data come late from those that send nothing: the newest cell moves while they are silent."""

    def __init__(self) -> None:
        self._newest: dict[Series, int] = {}  # silent signals, and their newest cell when they fell silent

    def late(self, windows: WindowStore, seen: Snapshot, end: int) -> NDArray[np.bool_]:
        """Rows without a value whose newest cell is not what it was when they fell silent: bool [R]."""
        found, silent = np.zeros(len(seen.rows), np.bool_), np.flatnonzero(np.isnan(seen.values))
        there = ~np.isnan(windows.history(seen.rows[silent], end, _LATE_STEPS))
        newest = np.where(there.any(1), end - 1 - there[:, ::-1].argmax(1), -1)
        before, self._newest = self._newest, {}
        for i, cell in zip(silent[newest >= 0].tolist(), newest[newest >= 0].tolist(), strict=True):
            series = windows.series[int(seen.rows[i])]
            self._newest[series] = before.get(series, cell)
            found[i] = cell > self._newest[series]
        return found


def reasons(seen: Snapshot, late: NDArray[np.bool_], looping: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Why nothing is predicted for each row, as numbers of REASONS; 0 where there is no reason.

    late: rows whose data come late; looping: rows whose entity restarts again and again. A missing stretch is never
    read as a zero: where too much is missing, nothing is said.
    """
    silent = np.isnan(seen.values)
    with np.errstate(invalid="ignore"):
        missing = seen.features[:, INDEX["missing_1h"]] > _MUCH_MISSING
        conditions = {
            LATE: silent & late,
            NO_DATA: silent,
            TOO_LITTLE: seen.ages < ENOUGH_STEPS,
            RESTARTS: missing & looping,
            MISSING: missing,
            NO_LIMIT: ~(seen.limits > 0),
        }
    return np.select(list(conditions.values()), list(conditions), 0).astype(np.int8)

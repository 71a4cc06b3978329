"""What is known of a disk at a midnight: levels, changes over weeks, time since changes, age, what its model does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.smart import fleet
from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, F32, FIVE, Floats, History, Ints

LAGS = (1, 7, 14, 28, 112)  # days
_ERRORS = (5, 187, 197, 198)  # attributes that count damage to sectors


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Row-level facts of a history, from which `at` looks up any disk at any midnight.

    All [R, 9], from rows up to each alone. changed: day of the last change. changes: their number. rises: sum of all
    rises. highest: the largest value so far, -1 before the first. nonzero: the first day above 0.
    """

    history: History
    changed: Floats
    changes: F32
    rises: F32
    highest: F32
    nonzero: Floats
    others: fleet.Fleet

    @classmethod
    def of(cls, history: History) -> "Features":
        """Facts of each row from rows up to it alone."""
        values = history.values
        heads = np.zeros(len(values), dtype=bool)
        heads[history.first[:-1]] = True
        step = np.diff(values, axis=0, prepend=values[:1])
        step[heads] = 0.0
        step = np.nan_to_num(step)
        differs = step != 0.0
        day = history.day[:, None].astype(np.float64)
        moved = np.where(differs, day, -1.0)
        changed = _running_max(moved, history)
        filled = np.nan_to_num(values, nan=-1.0).astype(np.float64)
        above = _running_max(np.where(filled > 0, -day, -1e9), history)
        return cls(
            history,
            np.where(changed > 0, changed, np.nan),
            _running_sum(differs.astype(np.float64), heads),
            _running_sum(np.maximum(step, 0.0).astype(np.float64), heads),
            _running_max(filled, history).astype(np.float32),
            np.where(above > -1e9, -above, np.nan),
            fleet.Fleet.of(history),
        )

    def at(self, disk: Ints, day: Ints) -> tuple[F32, tuple[str, ...]]:
        """[n, F] features of `disk` [n] at midnights `day` [n], and their names. The disk must be known by then."""
        h = self.history
        row = h.row_at(disk, day)
        now = h.values[row]
        columns: dict[str, NDArray[np.generic]] = {}
        since = day[:, None] - self.changed[row]
        known = day[:, None] - self.nonzero[row]
        for i, a in enumerate(ATTRIBUTES):
            columns[f"value_{a}"] = now[:, i]
            columns[f"changed_days_{a}"] = since[:, i]
            columns[f"changes_{a}"] = self.changes[row, i]
            columns[f"rises_{a}"] = self.rises[row, i]
            columns[f"nonzero_days_{a}"] = known[:, i]
            columns[f"below_highest_{a}"] = self.highest[row, i] - now[:, i]
        for lag in LAGS:
            columns |= self._lagged(disk, day, row, lag)
        columns |= _sums(h, now, columns)
        columns |= {
            "age": h.age[row] + (day - h.day[row]),
            "watched_days": (day - h.begin[disk]).astype(np.float64),
            "age_at_begin": h.age[h.first[disk]],
            "size_tb": h.size_tb[disk],
            "model": h.model[disk],
            "maker": h.maker[disk],
        }
        columns |= dict(zip(fleet.NAMES, self.others.at(disk, day).T, strict=True))
        table = np.empty((len(disk), len(columns)), dtype=np.float32)
        for i, column in enumerate(columns.values()):
            table[:, i] = column
        return table, tuple(columns)

    def _lagged(self, disk: Ints, day: Ints, row: Ints, lag: int) -> dict[str, NDArray[np.generic]]:
        """Changes in the last `lag` days; missing where the disk was not known before."""
        h = self.history
        before = h.row_at(disk, day - lag)
        unknown = before < 0
        before = np.where(unknown, h.first[disk], before)
        columns: dict[str, NDArray[np.generic]] = {}
        for i, a in enumerate(ATTRIBUTES):
            columns[f"rise_{lag}d_{a}"] = self.rises[row, i] - self.rises[before, i]
            columns[f"changes_{lag}d_{a}"] = self.changes[row, i] - self.changes[before, i]
        columns[f"errors_{lag}d"] = np.sum([columns[f"rise_{lag}d_{a}"] for a in _ERRORS], axis=0)
        columns[f"updates_{lag}d"] = np.where(unknown, np.nan, row - before)
        return columns


def _sums(h: History, now: F32, columns: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    five = np.nan_to_num(now[:, [ATTRIBUTES.index(a) for a in FIVE]])
    since = np.stack([np.nan_to_num(columns[f"changed_days_{a}"], nan=1e4) for a in _ERRORS])
    return {
        "five_count": (five > 0).sum(axis=1),
        "five_logs": np.log1p(np.maximum(five, 0)).sum(axis=1),
        "errors_changed_days": since.min(axis=0),
    }


def _running_sum(values: Floats, heads: NDArray[np.bool_]) -> F32:
    """Cumulative sum [R, 9] that begins anew at every disk."""
    total = np.cumsum(values, axis=0)
    starts = np.flatnonzero(heads)
    lengths = np.diff(np.append(starts, len(values)))
    base = total[starts] - values[starts]
    return (total - np.repeat(base, lengths, axis=0)).astype(np.float32)


def _running_max(values: Floats, history: History) -> Floats:
    """Cumulative maximum [R, 9] that begins anew at every disk."""
    import pandas as pd

    return np.asarray(pd.DataFrame(values).groupby(history.disk).cummax().to_numpy(), dtype=np.float64)

"""Simple rankings of disks: what a figure has to beat."""

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, FIVE, Floats, History, Ints

_LINE_DAYS = (28, 21, 14, 7, 0)  # days back at which `predict_linear` reads the attribute


def baseline_scores(history: History, disk: Ints, day: int, horizon: int) -> dict[str, Floats]:
    """[n] scores of `disk` [n] at the midnight `day` by name."""
    values = _values(history, disk, day)
    five = values[:, [ATTRIBUTES.index(a) for a in FIVE]]
    row = history.row_at(disk, np.full(len(disk), day))
    return {
        "rule of five": (five > 0).sum(axis=1) + five.sum(axis=1) / 1e12,  # how many are above 0, then their sum
        "sum of five": five.sum(axis=1),
        "any of five": (five > 0).any(axis=1).astype(np.float64),
        "SMART 197": values[:, ATTRIBUTES.index(197)],
        "predict_linear 5": _line(history, disk, day, 5, horizon),
        "predict_linear 197": _line(history, disk, day, 197, horizon),
        "power-on days": history.age[row] + (day - history.day[row]),
        "random": np.random.default_rng(day + 1).random(len(disk)),
    }


def _line(history: History, disk: Ints, day: int, attribute: int, horizon: int) -> Floats:
    """Prometheus's `predict_linear` of an attribute over four weeks: its value `horizon` days on."""
    back = np.array(_LINE_DAYS, dtype=np.float64)
    place = ATTRIBUTES.index(attribute)
    seen = np.stack([_values(history, disk, day - int(b))[:, place] for b in back], axis=1)
    times = -back
    slope = ((seen - seen.mean(axis=1, keepdims=True)) * (times - times.mean())).sum(axis=1)
    slope /= ((times - times.mean()) ** 2).sum()
    line: NDArray[np.float64] = seen.mean(axis=1) + slope * (horizon - times.mean())
    return line


def _values(history: History, disk: Ints, day: int) -> Floats:
    """[n, 9] values at `day`, those of a disk's first row before it was known; 0 where it reports none."""
    row = history.row_at(disk, np.full(len(disk), day))
    row = np.where(row >= 0, row, history.first[disk])
    return np.nan_to_num(history.values[row].astype(np.float64))

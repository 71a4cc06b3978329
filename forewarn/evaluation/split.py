"""Training, calibration and test by time: no part sees a later one, neither in its features nor in its labels."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

TRAIN_SHARE, CALIBRATION_SHARE = 0.70, 0.15
EMBARGO_STEPS = 360  # neighbouring times are nearly the same row: a gap between the parts
MIN_CELLS = 4 * EMBARGO_STEPS


@dataclass(frozen=True, slots=True)
class Part:
    """Cells [first, stop)."""

    first: int
    stop: int

    def holds(self, at: I64) -> NDArray[np.bool_]:
        """Which of the cells belong to this part."""
        return (at >= self.first) & (at < self.stop)

    def far_from(self, at: I64) -> NDArray[np.bool_]:
        """Which of the cells are at least EMBARGO_STEPS away from this part."""
        return (at < self.first - EMBARGO_STEPS) | (at >= self.stop + EMBARGO_STEPS)


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, in order of time with gaps of EMBARGO_STEPS between them."""

    train: Part
    calibration: Part
    test: Part


def split_time(cells: int) -> Split:
    """Cut `cells` of history. Raises ValueError where they are too few to keep the parts apart."""
    if cells < MIN_CELLS:
        raise ValueError(
            f"{cells} steps of history are too few to train on and test: {MIN_CELLS} are needed "
            f"({MIN_CELLS / 1440:.0f} days at 60 s); collect more, or name a longer interval"
        )
    embargo = min(EMBARGO_STEPS, cells // 40)
    train, calibration = round(cells * TRAIN_SHARE), round(cells * (TRAIN_SHARE + CALIBRATION_SHARE))
    return Split(Part(0, train), Part(train + embargo, calibration), Part(calibration + embargo, cells))


def censored(steps: F64, observed: F64, at: I64, stop: int) -> tuple[F64, F64]:
    """Labels as they were known at the start of cell `stop`: what came later had not been seen then.

    steps, observed, at: [n]; see `forewarn.features.labels.time_to_limit`.
    """
    watched = np.minimum(observed, stop - at)
    return np.where(steps > watched, np.inf, steps), watched


def blocks(part: Part, count: int) -> list[Part]:
    """A part cut into `count` blocks of equal length."""
    edges = np.linspace(part.first, part.stop, count + 1).astype(int).tolist()
    return [Part(first, stop) for first, stop in pairwise(edges)]


def balanced_sample(positive: NDArray[np.bool_], most: int, seed: int) -> tuple[I64, F64]:
    """Rows to keep and their weights: at most half positives, the rest negatives, each drawn at random.

    The weights undo the sampling: sums over the kept rows estimate sums over all rows.
    """
    rng = np.random.default_rng(seed)
    chosen, weights = [], []
    room = most
    for rows in sorted((np.flatnonzero(positive), np.flatnonzero(~positive)), key=len):
        keep = np.sort(rng.permutation(rows)[: room // 2 if room == most else room])
        room -= len(keep)
        chosen.append(keep)
        weights.append(np.full(len(keep), len(rows) / max(len(keep), 1)))
    rows, weight = np.concatenate(chosen), np.concatenate(weights)
    order = np.argsort(rows)
    return rows[order], weight[order]

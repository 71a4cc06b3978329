"""Channels of many entities side by side: learned at once, scored a step at a time, as `AutoregressionDetector` does.

Channels are the columns of one array; those of an entity stand together. What a channel's own past did not foretell is
an error; an entity's score is the mean of its channels' squared errors, smoothed: 1 is usual. Missing values, and what
comes right after them, count as usual.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.channel_forecast import SPANS
from forewarn.detection.channels_kernel import learn_columns, step_columns
from forewarn.detection.detector import Floats

Ints = NDArray[np.int64]

FURTHEST = 1000.0  # spreads from the centre; what stays far away is soon foretold and no longer counts
CLIP = 30.0  # the most that a channel errs by, in its usual errors
SMOOTHING = 20  # span in rows of the mean of squared errors
LEAST_ERROR = 0.1  # spreads: smaller errors are all the same
HOLD = 30  # rows: the longest time after a gap in which a channel counts as usual
FOLDS, BLOCKS = 3, 6  # of the learned rows: usual errors of each fold come from the others; scores peak in each block
_FLOOR = 0.1  # score added before the logarithm, so that channels that never move are no cliff
_RIDGE = 10.0  # rows, as in `ChannelForecaster.learn`
_RATES = 2.0 / (np.array(SPANS) + 1.0)
_SMOOTH = 2.0 / (SMOOTHING + 1.0)


@dataclass(slots=True, eq=False)
class Channels:
    """State of C channels. Columns are the last axis of every array, so that channels join and leave by it."""

    centre: Floats  # [C]
    spread: Floats
    weights: Floats  # [S, C] of the memories
    offset: Floats
    error: Floats  # usual size of an error, in spreads
    last: Floats
    memories: Floats  # [S, C]
    hold: NDArray[np.int16]  # rows for which the channel still counts as usual
    parts: Floats  # smoothed squared errors

    def step(self, row: NDArray[np.floating[Any]]) -> None:
        """Take the next value of each channel, `row` [C]; `parts` then tells of it."""
        step_columns(
            np.ascontiguousarray(row, dtype=np.float64), _RATES, _SMOOTH, FURTHEST, CLIP, HOLD,
            self.centre, self.spread, self.weights, self.offset, self.error, self.last,
            self.memories, self.hold, self.parts,
        )  # fmt: skip

    def take(self, columns: Ints) -> "Channels":
        """These columns alone."""
        return Channels(*(np.ascontiguousarray(getattr(self, f.name)[..., columns]) for f in fields(self)))

    def beside(self, other: "Channels") -> "Channels":
        """These columns and, after them, the other's."""
        both = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Channels(*(np.concatenate(pair, axis=-1) for pair in both))


def learn(X: NDArray[np.floating[Any]], starts: Ints) -> tuple[Channels, Floats]:
    """Channels after the cells `X` [C, n], and [BLOCKS, E] how high the entities' scores usually peak (log of scores).

    starts: first channel of each entity. Peaks are told in usual errors of the other folds: a channel that was restless
    once in the learned rows makes high peaks, as it will later on. Raises ValueError for fewer than BLOCKS cells.
    """
    count, n = X.shape
    if n < BLOCKS:
        raise ValueError(f"{n} rows are too few to learn what is usual: {BLOCKS} are needed")
    blank = [np.empty(count) for _ in range(5)]
    learned = Channels(
        blank[0], blank[1], np.empty((len(SPANS), count)), blank[2], blank[3], blank[4],
        np.empty((len(SPANS), count)), np.empty(count, np.int16), np.empty(count),
    )  # fmt: skip
    sizes = np.diff(np.append(starts, count))
    sums = np.zeros((len(starts), n))
    learn_columns(
        np.ascontiguousarray(X, dtype=np.float64), _RATES, _RIDGE, _SMOOTH, FURTHEST, CLIP, LEAST_ERROR, HOLD, FOLDS,
        learned.centre, learned.spread, learned.weights, learned.offset, learned.error, learned.last,
        learned.memories, learned.hold, learned.parts, np.repeat(np.arange(len(starts)), sizes), sums,
    )  # fmt: skip
    usual = log_score(sums / sizes[:, None]).T
    usual[: min(SMOOTHING, n // BLOCKS - 1)] = -np.inf  # the mean has just begun, with a single error
    return learned, np.stack([block.max(axis=0) for block in np.array_split(usual, BLOCKS)])


def entity_means(parts: Floats, starts: Ints) -> Floats:
    """[E] mean over the channels of each entity, `parts` [C]."""
    counts = np.diff(np.append(starts, len(parts)))
    return np.asarray(np.add.reduceat(parts, starts) / counts, dtype=np.float64)


def log_score(scores: Floats) -> Floats:
    """The scale on which scores of different entities are compared."""
    return np.asarray(np.log(_FLOOR + scores), dtype=np.float64)


def excess_of_blocks(peaks: Floats) -> Floats:
    """[BLOCKS, E] by how much each usual peak exceeds the mean of those of other folds, as a new one would."""
    fold = np.arange(BLOCKS) * FOLDS // BLOCKS
    others = (fold[:, None] != fold[None]).astype(np.float64)
    return np.asarray(peaks - others @ peaks / others.sum(axis=1, keepdims=True), dtype=np.float64)

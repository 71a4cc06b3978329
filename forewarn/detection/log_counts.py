"""How often each log template came in a sequence: which combination is new, and new in what never varies by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Counts = NDArray[np.int64]

_FOLDS = 5
_BLOCK = 256  # rows compared at once


@dataclass(frozen=True, slots=True, eq=False)
class CountNovelty:
    """Vectors of counts that were seen, and how surprising it is that a template is what a new one differs in.

    known: int64 [K, V]; surprise: float64 [V], -log of the share of new vectors that differ in the template: what
    varies by chance (how often a block is read) makes new vectors all the time, what follows a protocol never does.
    new: -log of the share of usual sequences with a vector that was never seen, found by leaving folds out.
    threshold: of `score`, for the share of false alarms that was asked for.
    """

    known: Counts
    surprise: F64
    new: float
    threshold: float

    def score(self, counts: Counts) -> F64:
        """[n]: 0 for a known vector; for another -log P(new) - log P(its most telling difference | new), the least
        over all known vectors."""
        return _scores(self.known, self.surprise, self.new, counts)[0]


def count_vectors(sequences: Sequence[Sequence[int]], size: int) -> Counts:
    """[n, size]: how often each number 0 … size - 1 occurs."""
    rows = [np.bincount(np.asarray(s, dtype=np.int64), minlength=size) for s in sequences]
    return np.asarray(rows, dtype=np.int64).reshape(len(sequences), size)


def learn_counts(counts: Counts, false_alarms: float) -> CountNovelty:
    """From usual sequences [n, V] alone. false_alarms: the share of usual sequences that may be called unusual.

    Raises ValueError with fewer than 10 sequences.
    """
    if len(counts) < 2 * _FOLDS:
        raise ValueError(f"{len(counts)} sequences are too few to learn what is usual; {2 * _FOLDS} are needed")
    known = np.unique(counts, axis=0)
    surprise = _surprise_of_templates(known)
    held_out = _held_out(counts, surprise)
    new = float(-np.log((np.count_nonzero(held_out) + 0.5) / (len(counts) + 1)))
    novel = np.sort(np.where(held_out > 0, held_out - 1.0 + new, 0.0))[::-1]
    allowed = int(false_alarms * len(counts))
    return CountNovelty(known, surprise, new, max(float(novel[allowed]) + 1e-9, 0.5 * new))


def _surprise_of_templates(known: Counts) -> F64:
    """Each known vector is taken away in turn; in which templates does it differ from what is left?"""
    differs = np.zeros(known.shape[1])
    for i in range(len(known)):
        rest = np.delete(known, i, axis=0)
        if len(rest):
            apart = np.abs(rest - known[i])
            differs += apart[np.lexsort((apart.sum(1), (apart > 0).sum(1)))[0]] > 0
    return np.asarray(-np.log((differs + 0.5) / (len(known) + 1)))


def _held_out(counts: Counts, surprise: F64) -> F64:
    """Scores of sequences, blocks of them left out in turn; new ones count 1 + their surprise."""
    scores = np.zeros(len(counts))
    for rows in np.array_split(np.arange(len(counts)), _FOLDS):
        rest = np.delete(counts, rows, axis=0)
        scores[rows] = _scores(np.unique(rest, axis=0), surprise, 1.0, counts[rows])[0]
    return scores


def _scores(known: Counts, surprise: F64, new: float, counts: Counts) -> tuple[F64, NDArray[np.int64]]:
    """Scores, and the row of `known` that each is nearest to."""
    distinct, back = np.unique(counts, axis=0, return_inverse=True)
    scores, nearest = np.zeros(len(distinct)), np.zeros(len(distinct), dtype=np.int64)
    for i in range(0, len(distinct), _BLOCK):
        differs = distinct[i : i + _BLOCK, None, :] != known[None, :, :]
        telling = np.where(differs, surprise, 0.0).max(axis=2)
        same = ~differs.any(axis=2)
        cost = np.where(same, 0.0, new + telling)
        scores[i : i + _BLOCK], nearest[i : i + _BLOCK] = cost.min(axis=1), cost.argmin(axis=1)
    back = back.reshape(-1)
    return scores[back], nearest[back]

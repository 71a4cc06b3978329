"""Unusual sequences of log templates: by which came how often, and by which came after which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from forewarn.detection.log_counts import CountNovelty, count_vectors, learn_counts
from forewarn.detection.log_surprise import NextTemplate

F64 = NDArray[np.float64]

FILE = "log_sequence.json"
_LEARNED = 0.7  # share of the sequences, the first, that the order is learned from; the rest sets its threshold
_TAIL = 0.05  # share of the held-out scores that tell how their tail goes on


class _State(msgspec.Struct):
    templates: list[str]
    known: list[list[int]]
    surprise: list[float]
    new: float
    count_threshold: float
    order_threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What is thought of n sequences. Scores of 1 and more are beyond the threshold.

    counts, order: float64 [n], score as a multiple of its threshold; unusual: bool [n], either is.
    """

    counts: F64
    order: F64

    @property
    def unusual(self) -> NDArray[np.bool_]:
        return (self.counts > 1.0) | (self.order > 1.0)


@dataclass(slots=True, eq=False)
class LogSequenceDetector:
    """Learns from usual sequences alone (a session, a block, or what one entity logged in a window).

    false_alarms: the share of usual sequences that may be called unusual; each of the two looks may spend half.
    A template that was never seen is unusual in both.
    """

    false_alarms: float = 1e-3
    steps: int = 300
    seed: int = 0
    _templates: dict[str, int] | None = None
    _counts: CountNovelty | None = None
    _order: NextTemplate | None = None
    _order_threshold: float = np.inf

    def learn(self, sequences: Sequence[Sequence[str]]) -> None:
        """Learn what is usual; sequences in order of time. Raises ValueError with fewer than 20."""
        if len(sequences) < 20:
            raise ValueError(f"{len(sequences)} sequences are too few to learn what is usual; 20 are needed")
        self._templates = {t: i for i, t in enumerate(sorted({t for s in sequences for t in s}))}
        numbers = self._numbers(sequences)
        self._counts = learn_counts(count_vectors(numbers, len(self._templates) + 1), self.false_alarms / 2)
        cut = int(_LEARNED * len(numbers))
        self._order = NextTemplate(len(self._templates), self.seed)
        self._order.learn(numbers[:cut], self.steps)
        self._order_threshold = max(
            tail_threshold(self._order.score(numbers[cut:]), self.false_alarms / 2),
            self._surest(numbers),
        )

    def judge(self, sequences: Sequence[Sequence[str]]) -> Verdict:
        """How unusual sequences are. Raises RuntimeError before `learn`."""
        if self._templates is None or self._counts is None or self._order is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        numbers = self._numbers(sequences)
        counts = self._counts.score(count_vectors(numbers, len(self._templates) + 1)) / self._counts.threshold
        return Verdict(counts, self._order.score(numbers) / self._order_threshold)

    def save(self, folder: Path) -> None:
        """Write what `load` needs into `folder`."""
        if self._templates is None or self._counts is None or self._order is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        self._order.save(folder)
        counts = self._counts
        state = _State(
            list(self._templates),
            counts.known.tolist(),
            counts.surprise.tolist(),
            counts.new,
            counts.threshold,
            self._order_threshold,
        )
        (folder / FILE).write_bytes(msgspec.json.encode(state))

    @classmethod
    def load(cls, folder: Path) -> "LogSequenceDetector":
        """Read what `save` wrote; raises FileNotFoundError where a file is missing."""
        state = msgspec.json.decode((folder / FILE).read_bytes(), type=_State)
        detector = cls()
        detector._templates = {t: i for i, t in enumerate(state.templates)}
        known = np.array(state.known, dtype=np.int64)
        detector._counts = CountNovelty(known, np.array(state.surprise), state.new, state.count_threshold)
        detector._order = NextTemplate.load(folder)
        detector._order_threshold = state.order_threshold
        return detector

    def _surest(self, numbers: Sequence[Sequence[int]]) -> float:
        """Surprise that few usual sequences reach even if each step has its chance.

        Of V symbols, those of probability e^-s at most have V e^-s together, so a sequence of T steps meets one with
        T V e^-s at most. The held-out tail alone is too short to trust.
        """
        steps = float(np.mean([len(s) + 1 for s in numbers]))
        return float(np.log(steps * (len(self._templates or {}) + 2) / (self.false_alarms / 2)))

    def _numbers(self, sequences: Sequence[Sequence[str]]) -> list[list[int]]:
        templates = self._templates or {}
        return [[templates.get(t, len(templates)) for t in sequence] for sequence in sequences]


def tail_threshold(scores: F64, share: float) -> float:
    """The score that this share of usual sequences is above, where too few were held out to count it.

    The tail beyond the 95 % quantile goes on exponentially (peaks over threshold with shape 0, Pickands 1975).
    """
    start = float(np.quantile(scores, 1.0 - _TAIL))
    beyond = scores[scores > start] - start
    mean = float(beyond.mean()) if len(beyond) else 1e-3
    return start + mean * max(float(np.log(_TAIL / share)), 0.0)

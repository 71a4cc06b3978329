"""What detectors of rows in time order share: one scale, held-out scores of usual rows, smoothing, and files.

A subclass says how unusual each channel of each row is; everything here is causal.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.channel_forecast import CONTEXT_IN_SPANS, exponential_mean
from forewarn.detection.detector import Floats
from forewarn.detection.empirical import empirical_p_value, reference_scores
from forewarn.detection.scaling import ChannelScale, carried_forward

FILE = "detector.npz"
LEAST_ROWS = 16
LEARNED_SHARE = 0.75  # of the rows, the earlier ones; the later ones tell which scores are usual


@dataclass(eq=False)
class SeriesDetector(ABC):
    """`smoothing`: span in rows of the exponential mean of scores, so that an event is one range and not many spikes;
    `clip`: the most that one channel errs by, in its usual errors; `seed`: of what is drawn at random.

    `learn` fits the first three quarters of the rows, takes the scores of the last quarter as what is usual, and then
    fits all rows where that is cheap (`refit`): p-values come from rows that were not fitted, and lean to the careful
    side, since usual rows later on are as far from the fit or nearer.
    """

    smoothing: int = 20
    clip: float = 30.0
    seed: int = 0

    refit: ClassVar[bool] = True
    furthest: ClassVar[float] = 30.0  # spreads from the centre; a value further away counts as this far

    def __post_init__(self) -> None:
        self._scale: ChannelScale | None = None
        self._reference: Floats | None = None

    @abstractmethod
    def _fit(self, Z: Floats) -> None:
        """Learn from scaled rows [n, F] without NaN."""

    @abstractmethod
    def _parts(self, Z: Floats) -> Floats:
        """[n, F] how unusual each channel of each scaled row is; a score is their sum."""

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What `_fit` learned."""

    @abstractmethod
    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `_arrays` gave."""

    @property
    def own_context(self) -> int:
        """Rows before a row that `_parts` looks at."""
        return 0

    @property
    def context(self) -> int:
        """See `AnomalyDetector.context`."""
        return self.own_context + (CONTEXT_IN_SPANS * self.smoothing if self.smoothing > 1 else 0)

    def learn(self, X: NDArray[np.floating[Any]]) -> None:
        """See `AnomalyDetector.learn`; at least 16 rows."""
        if len(X) < LEAST_ROWS:
            raise ValueError(f"{len(X)} rows are too few to learn what is usual: {LEAST_ROWS} are needed")
        rows = np.asarray(X, dtype=np.float64)
        early = round(len(rows) * LEARNED_SHARE)
        self._fit_all(rows[:early])
        self._reference = reference_scores(self.score(rows)[early:])
        if self.refit:
            self._fit_all(rows)

    def score(self, X: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.score`."""
        return np.asarray(self.contributions(X).sum(axis=1))

    def contributions(self, X: NDArray[np.floating[Any]]) -> Floats:
        """See `ExplainingDetector.contributions`."""
        if self._scale is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        if len(X) == 0:
            return np.empty((0, X.shape[1]))
        return exponential_mean(self._parts(carried_forward(self._scale.apply(X))), self.smoothing)

    def p_value(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.p_value`."""
        if self._reference is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        return empirical_p_value(scores, self._reference)

    def save(self, folder: Path) -> None:
        """Write one file of plain arrays: no pickle is in it."""
        if self._scale is None or self._reference is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        folder.mkdir(parents=True, exist_ok=True)
        settings = {f"setting_{f.name}": np.asarray(getattr(self, f.name)) for f in fields(self)}
        usual = {"centre": self._scale.centre, "spread": self._scale.spread, "reference": self._reference}
        np.savez_compressed(folder / FILE, **settings, **usual, **self._arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises FileNotFoundError without the file, ValueError where it holds objects."""
        with np.load(folder / FILE, allow_pickle=False) as file:
            arrays = dict(file)
        detector = cls(**{f.name: arrays.pop(f"setting_{f.name}").item() for f in fields(cls)})
        detector._scale = ChannelScale(arrays.pop("centre"), arrays.pop("spread"), detector.furthest)
        detector._reference = arrays.pop("reference")
        detector._restore(arrays)
        return detector

    def _fit_all(self, rows: Floats) -> None:
        self._scale = ChannelScale.learn(rows, self.furthest)
        self._fit(carried_forward(self._scale.apply(rows)))

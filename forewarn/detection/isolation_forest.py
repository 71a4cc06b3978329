"""Isolation Forest (Liu 2008) over the feature vector: what is easy to cut off from the rest is unusual."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import Floats
from forewarn.detection.empirical import empirical_p_value, reference_scores

FILE = "isolation_forest.joblib"


@dataclass(slots=True, eq=False)
class IsolationForestDetector:
    """scikit-learn's forest; a missing feature counts as its median, which is never unusual.

    Half of the rows that `learn` is given grow the trees, the other half tell which scores are usual, so that
    p-values are not flattered by rows that the trees have seen.
    """

    seed: int = 0
    trees: int = 64
    subsample: int = 256
    max_rows: int = 20_000
    context: int = 0  # rows are judged alone
    _forest: Any = None
    _median: Floats | None = None
    _reference: Floats | None = None

    def learn(self, X: NDArray[np.floating[Any]]) -> None:
        """See `AnomalyDetector.learn`; more than `max_rows` rows are thinned at random."""
        from sklearn.ensemble import IsolationForest

        if len(X) < 2:
            raise ValueError(f"{len(X)} rows are too few to learn what is usual")
        rows = np.random.default_rng(self.seed).permutation(len(X))[: self.max_rows]
        sample = np.asarray(X, dtype=np.float64)[rows]
        there = ~np.isnan(sample).all(axis=0)
        self._median = np.zeros(sample.shape[1])
        self._median[there] = np.nanmedian(sample[:, there], axis=0)
        half = len(rows) // 2
        forest = IsolationForest(n_estimators=self.trees, max_samples=min(self.subsample, half), random_state=self.seed)
        self._forest = forest.fit(self._filled(sample[:half]))
        self._reference = reference_scores(self.score(sample[half:]))

    def score(self, X: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.score`; the paper's score, 0 to 1, usual rows below about 0.5."""
        if self._forest is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        if len(X) == 0:
            return np.empty(0)
        return -np.asarray(self._forest.score_samples(self._filled(X)), dtype=np.float64)

    def p_value(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.p_value`."""
        if self._reference is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        return empirical_p_value(scores, self._reference)

    def save(self, folder: Path) -> None:
        """Write one joblib file; it is a pickle, so whoever loads it checks its checksum first."""
        import joblib

        folder.mkdir(parents=True, exist_ok=True)
        state = {"forest": self._forest, "median": self._median, "reference": self._reference, "seed": self.seed}
        joblib.dump(state, folder / FILE, compress=3)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Only files from our own store, whose checksum was compared, may come here."""
        import joblib

        state = joblib.load(folder / FILE)
        detector = cls(seed=state["seed"])
        detector._forest, detector._median = state["forest"], state["median"]
        detector._reference = state["reference"]
        return detector

    def _filled(self, X: NDArray[np.floating[Any]]) -> Floats:
        median = np.zeros(X.shape[1]) if self._median is None else self._median
        return np.asarray(np.where(np.isfinite(X), X, median), dtype=np.float64)

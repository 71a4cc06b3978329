"""A scorer that always answers: what a model fails on, the next one scores, and the failure is told."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.paging_threshold import raised_threshold
from forewarn.risk.scorer import Scorer, Scores, score

F64 = NDArray[np.float64]


class ModelFaultError(RuntimeError):
    """A model answered what cannot be: numbers are missing, or are no probabilities."""


T = TypeVar("T")
Failed = Callable[[Scorer, Exception], None]
Scored = Callable[[Scorer, int, float], None]  # who scored, rows, seconds


class GuardedScorer:
    """Scores one batch, and what is asked about it, by the first of `scorers` that can. Make one for each batch.

    The first call scores the batch: probability, time and `version` are all of the one model that answered both.
    Later calls (reasons, what-if) keep to that model while it answers. What the last of `scorers` raises is raised.

    failed: told of each model that raised or answered what cannot be. scored: told of the one that scored the batch.
    raised: log-odds by which the threshold lies above the model's own (`forewarn.evaluation.alarm_control`).
    """

    def __init__(self, scorers: Sequence[Scorer], failed: Failed, scored: Scored, raised: float = 0.0) -> None:
        self._scorers = list(scorers)
        self._raised = raised
        self._failed, self._scored = failed, scored
        self._speaker: Scorer | None = None
        self._batch: tuple[F64, F64] | None = None  # features of the batch, quantiles

    @property
    def version(self) -> str:
        """The model that scored the batch; before, the first."""
        return (self._speaker or self._scorers[0]).version

    @property
    def threshold(self) -> float:
        """Of the same model as `version`, raised where false pages were too many."""
        return raised_threshold((self._speaker or self._scorers[0]).threshold, self._raised)

    @property
    def answering(self) -> Scorer:
        """The model that answers now."""
        return self._scorers[0]

    def survival(self, features: F64) -> F64:
        """See `Scorer.survival`."""
        if self._speaker is not None:
            return self._first_that_can(lambda scorer: scorer.survival(features))
        started = time.perf_counter()
        scores = self._first_that_can(lambda scorer: self._checked(scorer, features))
        self._speaker, self._batch = self._scorers[0], (features, scores.quantiles)
        self._scored(self._speaker, len(features), time.perf_counter() - started)
        return scores.survival

    def quantiles(self, features: F64) -> F64:
        """See `Scorer.quantiles`."""
        if self._batch is not None and self._batch[0] is features:
            return self._batch[1]
        return self._first_that_can(lambda scorer: scorer.quantiles(features))

    def attributions(self, features: F64) -> F64:
        """SHAP values by the model that answers now, float64 [n, F]; NaN where it has none."""
        nothing = np.full(features.shape, np.nan)
        try:
            return self._scorers[0].attributions(features) if hasattr(self._scorers[0], "attributions") else nothing
        except Exception as error:  # noqa: BLE001 a picture less, and the risk is told
            self._failed(self._scorers[0], error)
            return nothing

    def _first_that_can(self, ask: Callable[[Scorer], T]) -> T:
        while len(self._scorers) > 1:
            try:
                return ask(self._scorers[0])
            except Exception as error:  # noqa: BLE001 whatever a model raises, the batch is scored
                self._failed(self._scorers.pop(0), error)
        return ask(self._scorers[0])

    def _checked(self, scorer: Scorer, features: F64) -> Scores:
        scores = score(scorer, features)
        if scorer is not self._scorers[-1]:  # nothing better is left
            check(scores, len(features))
        return scores


def check(scores: Scores, rows: int) -> None:
    """Raises ModelFaultError where these cannot be the scores of so many rows."""
    survival, quantiles = np.asarray(scores.survival), np.asarray(scores.quantiles)
    if survival.shape != (rows, len(HORIZON_STEPS)) or quantiles.shape != (rows, 3):
        raise ModelFaultError(f"{rows} rows were scored as {survival.shape} and {quantiles.shape}")
    if not (np.isfinite(survival).all() and np.isfinite(quantiles).all()):
        raise ModelFaultError("some scores are no numbers")
    if rows and (survival.min() < -1e-9 or survival.max() > 1 + 1e-9):
        raise ModelFaultError(f"probabilities of survival from {survival.min():.3g} to {survival.max():.3g}")

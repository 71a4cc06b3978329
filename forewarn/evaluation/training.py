"""Learns whether and when signals fail, and from which probability on to say so."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.hazard import HazardModel
from forewarn.evaluation.backtest import Stretch
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk.scorer import TrainedScorer

F64 = NDArray[np.float64]
DEFAULT_THRESHOLD = 0.4  # where the calibration part holds no failure to choose one by


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows to learn from: features [n, F], labels and weights [n] (of `balanced_sample`)."""

    features: F64
    steps: F64
    observed: F64
    weight: F64

    @property
    def leads_to_failure(self) -> NDArray[np.bool_]:
        """Rows that a failure follows within the longest horizon."""
        return np.asarray(self.steps <= HORIZON_STEPS[-1])


@dataclass(frozen=True, slots=True, eq=False)
class FailureModel:
    """Whether (`hazard`), when (`time`) and from which probability on a risk is told."""

    hazard: HazardModel
    time: TimeToFailureModel
    threshold: float

    def scorer(self, version: str) -> TrainedScorer:
        """The model as something that scores."""
        return TrainedScorer(version, self.threshold, self.hazard, self.time)


def learn_failures(train: Sample, later: Sample, calibration: Stretch, seed: int = 0) -> FailureModel:
    """Learn from `train`; calibrate probabilities and intervals on `later`, a sample of a later part; choose the
    threshold on the whole of that part, `calibration`.

    Raises ValueError where the training part holds too few rows that lead to a failure.
    """
    hazard = HazardModel.fit(train.features, train.steps, train.observed, train.weight, seed=seed)
    hazard = hazard.calibrate(later.features, later.steps, later.observed, later.weight)
    ends, later_ends = train.leads_to_failure, later.leads_to_failure
    time = TimeToFailureModel.fit(train.features[ends], train.steps[ends], seed, train.weight[ends])
    time = time.calibrate(later.features[later_ends], later.steps[later_ends])
    draft = TrainedScorer("draft", DEFAULT_THRESHOLD, hazard, time)
    probability = 1.0 - draft.survival(calibration.features)[:, HORIZON_STEPS.index(360)]
    return FailureModel(hazard, time, calibration.threshold(probability, DEFAULT_THRESHOLD))

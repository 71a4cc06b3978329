"""Learns whether and when signals fail, and from which probability on to say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.hazard import HazardModel
from forewarn.evaluation.backtest import Stretch, simple_methods
from forewarn.evaluation.model_metrics import THRESHOLDS, EventMetrics, best_threshold, together
from forewarn.evaluation.split import blocks
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.forecasting.time_to_failure import LEAST_ROWS, TimeToFailureModel
from forewarn.risk.scorer import PAGING_HORIZON, TrainedScorer

F64 = NDArray[np.float64]
DEFAULT_THRESHOLD = 0.3  # where nothing failed that could tell a better one
BLOCKS = 3
_LABELS = ("steps", "observed", "weight", "inverse")
TIME_STEPS = HORIZON_STEPS[PAGING_HORIZON]  # a time is said of what is told, and that is told for so many steps


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows to learn from: features [n, F], the cell `at` which they were scored, labels and weights [n].

    inverse: [n, H], weights of each bin against the censoring by those who acted (`ActionCurve.inverse`).
    """

    features: F64
    at: NDArray[np.int64]
    steps: F64
    observed: F64
    weight: F64
    inverse: F64

    @classmethod
    def of(
        cls, features: F64, at: NDArray[np.int64], steps: F64, observed: F64, weight: F64, inverse: F64 | None = None
    ) -> "Sample":
        """Rows of which nobody's action ended anything, without `inverse`."""
        ones = np.ones((len(at), len(HORIZON_STEPS)))
        return cls(features, at, steps, observed, weight, ones if inverse is None else inverse)

    @property
    def weight_of_failure(self) -> F64:
        """[n] weight of each row's failure, for rows that lead to one."""
        bins = np.searchsorted(HORIZON_STEPS, self.steps, side="left")
        return self.weight * self.inverse[np.arange(len(self.at)), np.minimum(bins, len(HORIZON_STEPS) - 1)]

    def rows(self, mask: NDArray[np.bool_]) -> "Sample":
        """Some of the rows."""
        return Sample(
            self.features[mask],
            self.at[mask],
            self.steps[mask],
            self.observed[mask],
            self.weight[mask],
            self.inverse[mask],
        )

    def with_rows(self, more: "Sample | None") -> "Sample":
        """These rows and more."""
        if more is None:
            return self
        return Sample(
            np.concatenate([self.features, more.features]),
            np.concatenate([self.at, more.at]),
            np.concatenate([self.steps, more.steps]),
            np.concatenate([self.observed, more.observed]),
            np.concatenate([self.weight, more.weight]),
            np.concatenate([self.inverse, more.inverse]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FailureModel:
    """Whether (`hazard`), when (`time`) and from which probability on a risk is told.

    unseen: by method ('model', 'predict_linear', …) what it reached on the history that models had not seen, see
    `learn_failures`; empty where that was not measured.
    """

    hazard: HazardModel
    time: TimeToFailureModel
    threshold: float
    unseen: Mapping[str, EventMetrics] = field(default_factory=dict)

    def scorer(self, version: str) -> TrainedScorer:
        """The model as something that scores."""
        return TrainedScorer(version, self.threshold, self.hazard, self.time)


def learn_failures(
    train: Sample, later: Sample, history: Stretch, calibration: Stretch, simulated: Sample | None = None, seed: int = 0
) -> FailureModel:
    """Learn from `train`, a sample of the stretch `history`; `later` is a sample of the later stretch `calibration`.

    `simulated` rows are learned from and nothing else: they are of no time of this history. Probabilities are
    calibrated, the threshold chosen and the intervals of the time calibrated on what models said of rows that they had
    not seen: of each block of the training part by models of the other blocks (cross-fitting), and of the later part.
    What was foreseen there is kept beside what simple methods foresaw (`FailureModel.unseen`). Intervals are those of
    rows that would have been told, and every failure counts the same: a day holds thousands of rows and one failure.
    Raises ValueError where too few rows lead to a failure.
    """
    everything = train.with_rows(simulated)
    hazard, time = _hazard(everything, seed), _time(everything, seed)
    unseen = [_Unseen(hazard, time, later, calibration)]
    for block in blocks(history.part, BLOCKS):
        others, own = train.rows(block.far_from(train.at)), train.rows(block.holds(train.at))
        if (others.steps <= TIME_STEPS).sum() >= LEAST_ROWS and len(own.at):
            more = others.with_rows(simulated)
            unseen.append(_Unseen(_hazard(more, seed), _time(more, seed), own, history.within(block)))
    hazard = hazard.calibrate_on(
        np.concatenate([u.hazard.log_odds(u.rows.features) for u in unseen]),
        *(
            np.concatenate([getattr(u.rows, name) for u in unseen])
            for name in ("steps", "observed", "weight", "inverse")
        ),
    )
    said = [_probability(hazard, one) for one in unseen]
    tried = [{t: one.stretch.events(p, t) for t in THRESHOLDS} for one, p in zip(unseen, said, strict=True)]
    threshold = _threshold(tried)
    told = [(one, one.stretch.told(p, threshold)) for one, p in zip(unseen, said, strict=True)]
    time = time.calibrate_on(
        np.concatenate([one.time.log_quantiles(one.stretch.features[rows]) for one, rows in told]),
        np.concatenate([one.stretch.steps[rows] for one, rows in told]),
        np.concatenate([one.stretch.failure_weight(rows) for one, rows in told]),
    )
    return FailureModel(hazard, time, threshold, _events_by_method(unseen, tried))


@dataclass(frozen=True, slots=True, eq=False)
class _Unseen:
    """Models, a sample of rows that they had not seen, and the stretch that they are of."""

    hazard: HazardModel
    time: TimeToFailureModel
    rows: Sample
    stretch: Stretch


def _hazard(rows: Sample, seed: int) -> HazardModel:
    return HazardModel.fit(rows.features, rows.steps, rows.observed, rows.weight, seed=seed, inverse=rows.inverse)


def _time(rows: Sample, seed: int) -> TimeToFailureModel:
    ends = rows.steps <= TIME_STEPS
    return TimeToFailureModel.fit(rows.features[ends], rows.steps[ends], seed, rows.weight_of_failure[ends])


def _probability(calibrated: HazardModel, unseen: _Unseen) -> F64:
    """P(failure within the paging horizon) of the stretch's rows, by the model that had not seen them, calibrated as
    the one that will serve."""
    model = replace(unseen.hazard, slope=calibrated.slope, intercept=calibrated.intercept)
    scorer = TrainedScorer("", 0.0, model, None)
    return np.asarray(1.0 - scorer.survival(unseen.stretch.features)[:, PAGING_HORIZON])


_Tried = dict[float, EventMetrics]  # threshold -> what it reached


def _threshold(tried: Sequence[_Tried]) -> float:
    return best_threshold(lambda t: together([one[t] for one in tried]), DEFAULT_THRESHOLD)


def _events_by_method(unseen: Sequence[_Unseen], tried: Sequence[_Tried]) -> dict[str, EventMetrics]:
    """What model and simple methods reached on all unseen stretches together, the model on each at the threshold that
    the others ask for."""
    found: dict[str, list[EventMetrics]] = {}
    for i, one in enumerate(unseen):
        others = [t for k, t in enumerate(tried) if k != i]
        found.setdefault("model", []).append(tried[i][_threshold(others)])
        for name, (probability, told_from) in simple_methods(one.stretch).items():
            found.setdefault(name, []).append(one.stretch.events(probability, told_from))
    return {name: together(events) for name, events in found.items()}

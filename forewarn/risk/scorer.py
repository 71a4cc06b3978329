"""Scores: the probability of failure within each horizon and the time left, by a trained or the first-day model."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.explanation import worst_bin_shap
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.forecasting.trend import trend_quantiles, trend_survival
from forewarn.risk.first_day import FirstDayScorer

F64 = NDArray[np.float64]

PAGING_HORIZON = HORIZON_STEPS.index(360)  # decisions are about the next 360 steps: 6 h at 60 s


class Scorer(Protocol):
    """What turns features into scores; stream, HTTP, shadow and backtest call the same object."""

    @property
    def version(self) -> str:
        """Names the model in every risk."""

    @property
    def threshold(self) -> float:
        """Probability within 360 steps from which on a risk is told."""

    def survival(self, features: F64) -> F64:
        """P(no failure within each of HORIZON_STEPS), float64 [n, H], from features [n, F]."""

    def quantiles(self, features: F64) -> F64:
        """10, 50, 90 % quantile of the steps to the failure, given that it comes: float64 [n, 3]."""


@runtime_checkable
class Attributing(Protocol):
    """A scorer that can say which features its score comes from."""

    def attributions(self, features: F64) -> F64:
        """SHAP values of each feature in log-odds, float64 [n, F]."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of n rows: survival float64 [n, H], quantiles float64 [n, 3] in steps."""

    survival: F64
    quantiles: F64

    @property
    def probability(self) -> F64:
        """P(failure within 360 steps), float64 [n]."""
        return 1.0 - self.survival[:, PAGING_HORIZON]


def score(scorer: Scorer, features: F64) -> Scores:
    """The one scoring path: features [n, F] to scores of n rows."""
    if not len(features):
        return Scores(np.empty((0, len(HORIZON_STEPS))), np.empty((0, 3)))
    return Scores(scorer.survival(features), scorer.quantiles(features))


@dataclass(frozen=True, slots=True)
class TrendScorer:
    """The signal's own trend alone, no training."""

    version: str = "trend-2"
    threshold: float = 0.7

    def survival(self, features: F64) -> F64:
        """See `trend_survival`."""
        return trend_survival(features)

    def quantiles(self, features: F64) -> F64:
        """See `trend_quantiles`."""
        return trend_quantiles(features)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedScorer:
    """The hazard model, learned here, and the first-day scorer say whether, and the higher of both counts; the time
    model says when.

    Some dozens of incidents teach little about those that are unlike them; a trend that runs into its limit is seen
    without any. Measured on simulated shops: docs/evaluation/demo.md.
    """

    version: str
    threshold: float
    hazard: Any  # forewarn.classification.hazard.HazardModel
    time: Any  # forewarn.forecasting.time_to_failure.TimeToFailureModel

    def survival(self, features: F64) -> F64:
        """P(no failure within each horizon), the lower of both opinions."""
        return np.minimum(self.hazard.survival(features), FirstDayScorer().survival(features))

    def quantiles(self, features: F64) -> F64:
        """Calibrated quantiles of the steps to the failure."""
        quantiles: F64 = self.time.predict(features)
        return quantiles

    def attributions(self, features: F64) -> F64:
        """Exact SHAP values of the hazard model's trees in the bin that adds most to the paged probability."""
        return worst_bin_shap(self.hazard, features, PAGING_HORIZON)

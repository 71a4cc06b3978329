"""What each feature does to a probability: exact SHAP values of a trained model, a deletion test for any other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.risk.guard import GuardedScorer
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, TrainedScorer

F64 = NDArray[np.float64]

SHAP, DELETION = "shap", "deletion"
_CERTAIN = 1e-6  # probabilities nearer to 0 or 1 are cut before their log-odds are taken


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """log_odds: float64 [n, F], positive where a feature raises the risk; how it was found: 'shap' or 'deletion'."""

    method: str
    log_odds: F64


def contributions(scorer: Scorer, features: F64) -> Contributions:
    """Of rows [n, F]; some milliseconds a row, so only for what is shown.

    shap: TreeSHAP of the hazard model's calibrated log-odds, summed over its horizons; without the model's expectation
    they add up to them. deletion: by how much the log-odds of a failure within the paging horizon fall when the
    feature alone is missing; they add up to nothing.
    """
    if isinstance(scorer, GuardedScorer):
        scorer = scorer.answering
    if isinstance(scorer, TrainedScorer):
        return Contributions(SHAP, np.asarray(scorer.hazard.contributions(features), np.float64))
    n, width = features.shape
    without = np.repeat(features, width, 0)
    without[np.arange(n * width), np.tile(np.arange(width), n)] = np.nan
    fall = _log_odds(scorer, features)[:, None] - _log_odds(scorer, without).reshape(n, width)
    return Contributions(DELETION, np.where(np.isnan(features), 0.0, fall))


def _log_odds(scorer: Scorer, features: F64) -> F64:
    risk = np.clip(1.0 - scorer.survival(features)[:, PAGING_HORIZON], _CERTAIN, 1 - _CERTAIN)
    return np.asarray(np.log(risk / (1 - risk)), np.float64)

"""The first-day scorer: how signals in general run into their limits, and seasons as soon as there are any."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from forewarn.classification.hazard import HazardModel
from forewarn.features.definitions import FEATURE_VERSION, HORIZON_STEPS, INDEX
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.forecasting.trend import season_known, trend_quantiles, trend_survival

F64 = NDArray[np.float64]

FOLDER = Path(__file__).with_name("first_day_model")
MANIFEST = "about.json"
_GROWN = 150.0  # steps of history before which a start-up is not told from a leak
_TREND_TRUST = 0.5 / 0.7  # of the trend's own rule, which was made to be told from 0.7 on
_BEYOND = np.log1p(2.0 * HORIZON_STEPS[-1])  # ln(1 + steps): what is further away by every trend is not looked at


class FirstDayError(RuntimeError):
    """The packaged model does not fit this program."""


@cache
def load(folder: Path = FOLDER) -> tuple[HazardModel, TimeToFailureModel]:
    """The packaged model. Raises FirstDayError where it was learned on other features."""
    about = json.loads((folder / MANIFEST).read_text())
    if about["feature_version"] != FEATURE_VERSION:
        raise FirstDayError(
            f"the first-day model knows features of version {about['feature_version']}, this program computes "
            f"{FEATURE_VERSION}: run python -m forewarn.evaluation.first_day"
        )
    return HazardModel.load(folder / "hazard"), TimeToFailureModel.load(folder / "time")


@dataclass(frozen=True, slots=True)
class FirstDayScorer:
    """Scores without any history of failures here.

    On the first day two opinions, of which the higher counts: a model learned from random shapes
    (`forewarn.forecasting.shapes`), and the rule for the ramp that a series is on (`trend_survival`); when, says the
    model. From the second day on a series has a season, and its trend against that is what counts.
    """

    version: str = "first-day-4"
    threshold: float = 0.5

    def survival(self, features: F64) -> F64:
        """P(limit not reached within each of HORIZON_STEPS), float64 [n, H]."""
        survival = 1.0 - _TREND_TRUST * (1.0 - trend_survival(features))
        near = ~season_known(features) & _nears(features)
        if near.any():
            history = np.expm1(np.nan_to_num(features[near, INDEX["log_history"]]))
            grown = expit((history - _GROWN) / 5)[:, None]
            model = 1.0 - (1.0 - load()[0].survival(features[near])) * grown
            survival[near] = np.minimum(survival[near], model)
        return survival

    def quantiles(self, features: F64) -> F64:
        """10, 50 and 90 % quantile of the steps until the limit, given that it is reached: float64 [n, 3]."""
        quantiles = trend_quantiles(features)
        near = ~season_known(features) & _nears(features)
        if near.any():
            quantiles[near] = load()[1].predict(features[near])
        return quantiles


def _nears(features: F64) -> NDArray[np.bool_]:
    """Rows that some trend brings to the limit soon: the others are as good as safe, and spare the trees."""
    trends = [INDEX[n] for n in ("log_steps_ramp", "log_steps_to_limit_1h", "log_steps_to_limit_6h")]
    soon: NDArray[np.bool_] = (features[:, trends] < _BEYOND).any(1)
    return soon

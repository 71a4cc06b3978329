"""When: quantiles of the time until a signal that fails reaches its limit, learned and then calibrated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.config.threads import threads_for
from forewarn.features.definitions import FEATURE_NAMES, MAX_STEPS

F64 = NDArray[np.float64]

QUANTILES = (0.1, 0.5, 0.9)
LEAST_ROWS = 50  # to learn from
_SETTINGS = {
    "objective": "quantile",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "verbose": -1,
    "max_bin": 127,
    "force_row_wise": True,
    "num_threads": 1,  # so few rows: more threads wait for each other, on busy machines many times longer
}
_ROUNDS = 150


class TimeToFailureModel:
    """LightGBM quantile regression of ln(1 + steps), made honest by conformalised quantile regression.

    The interval is widened (or narrowed) by the margin that made 80 % of unseen rows fall inside (Romano, Patterson
    and Candès 2019, 'Conformalized quantile regression').
    """

    def __init__(self, boosters: list[Any], margin: float, shift: float) -> None:
        self._boosters = boosters
        self.margin = margin  # added on both sides, in ln(1 + steps)
        self.shift = shift  # added to the median

    @classmethod
    def fit(cls, features: F64, steps: F64, seed: int, weight: F64 | None = None) -> "TimeToFailureModel":
        """features [n, F] of rows that failed `steps` [n] later. Raises ValueError below LEAST_ROWS."""
        import lightgbm

        if len(steps) < LEAST_ROWS:
            raise ValueError(f"{len(steps)} rows lead to a failure: at least {LEAST_ROWS} are needed to learn when")
        target = np.log1p(np.minimum(steps, MAX_STEPS))
        boosters = [
            lightgbm.train(
                {**_SETTINGS, "alpha": alpha, "seed": seed, "deterministic": True},
                lightgbm.Dataset(features, target, weight=weight, feature_name=list(FEATURE_NAMES)),
                _ROUNDS,
            )
            for alpha in QUANTILES
        ]
        return cls(boosters, 0.0, 0.0)

    def calibrate(self, features: F64, steps: F64) -> "TimeToFailureModel":
        """A copy whose interval holds 80 % of these rows; they must be later than the training's."""
        return self.calibrate_on(self.log_quantiles(features), steps, np.ones(len(steps)))

    def calibrate_on(self, said: F64, steps: F64, weight: F64) -> "TimeToFailureModel":
        """`calibrate` on what models of this kind said (`log_quantiles`, [n, 3]) of rows that they had not seen; weight
        [n]. Below 20 rows this model as it is."""
        if len(steps) < 20:
            return self
        low, middle, high = said.T
        truth = np.log1p(np.minimum(steps, MAX_STEPS))
        shift = weighted_quantile(truth - middle, weight, 0.5)
        margin = weighted_quantile(np.maximum(low - truth, truth - high), weight, 0.8)
        return TimeToFailureModel(self._boosters, margin, shift)

    def predict(self, features: F64) -> F64:
        """Quantiles of the steps until the failure, given that it comes soon: float64 [n, 3], increasing."""
        low, middle, high = self.log_quantiles(features).T
        stacked = np.stack([low - self.margin, middle + self.shift, high + self.margin], 1)
        return np.clip(np.expm1(np.sort(stacked, 1)), 1.0, MAX_STEPS)

    def log_quantiles(self, features: F64) -> F64:
        """[n, 3]: quantiles of ln(1 + steps) before calibration."""
        if len(features) == 0:
            return np.empty((0, len(QUANTILES)))
        threads = threads_for(len(features))
        return np.stack([np.asarray(b.predict(features, num_threads=threads)) for b in self._boosters], 1)

    def save(self, folder: Path) -> None:
        """Write LightGBM's own text and a JSON file: nothing that could run code when it is loaded."""
        folder.mkdir(parents=True, exist_ok=True)
        for quantile, booster in zip(QUANTILES, self._boosters, strict=True):
            booster.save_model(folder / f"quantile_{quantile}.txt")
        (folder / "calibration.json").write_text(json.dumps({"margin": self.margin, "shift": self.shift}))

    @classmethod
    def load(cls, folder: Path) -> "TimeToFailureModel":
        """Raises FileNotFoundError where `save` has not written."""
        import lightgbm

        calibration = json.loads((folder / "calibration.json").read_text())
        boosters = [lightgbm.Booster(model_file=folder / f"quantile_{q}.txt") for q in QUANTILES]
        return cls(boosters, calibration["margin"], calibration["shift"])


def weighted_quantile(values: F64, weight: F64, q: float) -> float:
    """The smallest of `values` [n > 0] that no less than the share q of the weight [n] lies at or below."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][min(np.searchsorted(reached, q * reached[-1]), len(values) - 1)])

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

    The interval is widened (or narrowed) by the margin that made 80 % of a later, unseen slice fall inside
    (Romano, Patterson and Candès 2019, 'Conformalized quantile regression').
    """

    def __init__(self, boosters: list[Any], margin: float, shift: float) -> None:
        self._boosters = boosters
        self.margin = margin  # added on both sides, in ln(1 + steps)
        self.shift = shift  # added to the median

    @classmethod
    def fit(cls, features: F64, steps: F64, seed: int, weight: F64 | None = None) -> "TimeToFailureModel":
        """features [n, F] of rows that failed `steps` [n] later. Raises ValueError below 50 rows."""
        import lightgbm

        if len(steps) < 50:
            raise ValueError(f"{len(steps)} rows that lead to a failure: at least 50 are needed to learn when")
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
        if len(steps) < 20:
            return self
        low, middle, high = self._raw(features).T
        truth = np.log1p(np.minimum(steps, MAX_STEPS))
        shift = float(np.median(truth - middle))
        score = np.maximum(low - truth, truth - high)
        level = min(1.0, 0.8 * (1 + 1 / len(steps)))
        return TimeToFailureModel(self._boosters, float(np.quantile(score, level)), shift)

    def predict(self, features: F64) -> F64:
        """Quantiles of the steps until the failure, given that it comes soon: float64 [n, 3], increasing."""
        low, middle, high = self._raw(features).T
        stacked = np.stack([low - self.margin, middle + self.shift, high + self.margin], 1)
        return np.clip(np.expm1(np.sort(stacked, 1)), 1.0, MAX_STEPS)

    def _raw(self, features: F64) -> F64:
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

"""The failure model: a discrete-time hazard, learned by gradient-boosted trees, of a signal reaching its limit."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.calibration import fit_platt
from forewarn.classification.person_period import PersonPeriods, expand
from forewarn.config.threads import threads_for
from forewarn.features.definitions import FEATURE_NAMES, HORIZON_STEPS

Floats = NDArray[np.float64]
BIN_FEATURE = "horizon_bin"

# What tells one day or one series from another rather than health from trouble: with some dozens of failures to
# learn from, trees learn these by heart.
_BY_HEART = frozenset(
    ["log_history", "missing_1h", "missing_24h", "week_diff", "week_z", "failed_share_24h", "drop_24h"]
    + [f"{statistic}_{window}" for statistic in ("mean", "std", "min", "max") for window in ("6h", "24h")]
)
# More of these never means less risk, whatever few failures seem to say, and the other way round.
_RAISING = (
    "ratio",
    "slope_",
    "robust_slope_",
    "residual_slope_",
    "projected_",
    "season_",
    "change_",
    "rising_",
    "new_high",
    "ewma_gap",
    "error_ratio",
    "latency_",
)
_RAISING_LEVELS = frozenset(f"{statistic}_{window}" for statistic in ("mean", "min", "max") for window in ("5m", "1h"))
_LOWERING = ("distance", "log_steps_")
_PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.06,
    "num_leaves": 15,
    "min_data_in_leaf": 60,  # neighbouring rows are nearly the same row: a leaf needs many
    "min_sum_hessian_in_leaf": 1.0,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "force_row_wise": True,
    "deterministic": True,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True, eq=False)
class HazardModel:
    """P(no failure within h steps | features), for each of `horizons`.

    The hazard of a bin, P(fails in it | did not before), is one binary model with the bin as its last feature
    (Allison 1982, 'Discrete-time methods for the analysis of event histories'); survival is the product of
    (1 - hazard) and so never grows with the horizon. Rows that were not watched to the end are right-censored.
    """

    booster: Any  # lightgbm.Booster
    feature_names: tuple[str, ...]
    horizons: tuple[int, ...]
    slope: Floats  # [H], Platt calibration of each bin
    intercept: Floats  # [H]

    @classmethod
    def fit(
        cls,
        X: NDArray[np.floating[Any]],
        steps_to_failure: NDArray[np.floating[Any]],
        observed_steps: NDArray[np.floating[Any]],
        weight: Floats | None = None,
        *,
        seed: int = 0,
        rounds: int = 150,
        feature_names: tuple[str, ...] = FEATURE_NAMES,
        horizons: tuple[int, ...] = HORIZON_STEPS,
        few_failures: bool = True,
        inverse: Floats | None = None,
        threads: int = 1,  # two wait for each other where other processes are busy: measured 9 s against 97 s
    ) -> "HazardModel":
        """Learn from `X` [n, F] (NaN = missing), time to failure [n] (inf = none seen) and time watched [n], in steps.

        few_failures: some dozens at most: what could be learned by heart is left out, and what more of a feature may
        mean is fixed beforehand. inverse: [n, H], weights of each bin from `ActionCurve.inverse`. Raises ValueError
        where no row carries information.
        """
        import lightgbm

        periods = expand(steps_to_failure, observed_steps, horizons)
        if len(periods.row) == 0:
            raise ValueError("no row to learn from: every time is missing or zero; is the history too short?")
        weights = _weights(periods, weight, inverse)
        bins = len(horizons)
        data = lightgbm.Dataset(
            np.column_stack(
                [
                    (_learnable(X, feature_names) if few_failures else np.asarray(X, np.float32))[periods.row],
                    periods.bin.astype(np.float32),
                ]
            ),
            periods.event,
            weight=weights / weights.mean(),
            feature_name=[*feature_names, BIN_FEATURE],
            free_raw_data=True,
        )
        parameters = {
            **_PARAMETERS,
            "seed": seed,
            "num_threads": threads,
        }
        if few_failures:
            parameters["monotone_constraints"] = [*map(_direction, feature_names), 0]
        booster = lightgbm.train(parameters, data, num_boost_round=rounds)
        return cls(booster, tuple(feature_names), tuple(horizons), np.ones(bins), np.zeros(bins))

    def calibrate(
        self,
        X: NDArray[np.floating[Any]],
        steps_to_failure: NDArray[np.floating[Any]],
        observed_steps: NDArray[np.floating[Any]],
        weight: Floats | None = None,
    ) -> "HazardModel":
        """The same trees with each bin's log-odds calibrated on rows of a later time than those they learned from."""
        return self.calibrate_on(self.log_odds(X), steps_to_failure, observed_steps, weight)

    def calibrate_on(
        self,
        log_odds: Floats,
        steps_to_failure: NDArray[np.floating[Any]],
        observed_steps: NDArray[np.floating[Any]],
        weight: Floats | None = None,
        inverse: Floats | None = None,
    ) -> "HazardModel":
        """`calibrate` on log-odds [n, H] that were said of rows, by models of this kind that had not seen them."""
        periods = expand(steps_to_failure, observed_steps, self.horizons)
        weights = _weights(periods, weight, inverse)
        fits = [self._platt(periods, log_odds, weights, b) for b in range(len(self.horizons))]
        slope, intercept = np.array(fits, dtype=np.float64).T
        return replace(self, slope=slope, intercept=intercept)

    def _platt(self, periods: PersonPeriods, log_odds: Floats, weights: Floats, b: int) -> tuple[float, float]:
        rows = periods.bin == b
        return fit_platt(log_odds[periods.row[rows], b], periods.event[rows], weights[rows])

    def hazard(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, H]: probability of failing within each bin for those that came to it, calibrated."""
        z = self.log_odds(X) * self.slope + self.intercept
        return np.asarray(1.0 / (1.0 + np.exp(-z)), dtype=np.float64)

    def survival(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, H]: probability that no failure comes within each horizon; never grows along a row."""
        return np.asarray(np.cumprod(1.0 - self.hazard(X), axis=1), dtype=np.float64)

    def contributions(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, F]: exact SHAP values of each feature (TreeSHAP, Lundberg 2020) in calibrated log-odds, summed over bins.

        Costs about a millisecond a row and bin: explain only what is shown.
        """
        by_feature = self.shap_by_bin(X)[:, :, : len(self.feature_names)]
        return np.asarray(np.einsum("bnf,b->nf", by_feature, self.slope), dtype=np.float64)

    def shap_by_bin(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[H, n, F + 2]: SHAP values in uncalibrated log-odds of each bin; the last two columns are the bin itself
        and the expectation. A row's columns add up to its log-odds."""
        if len(X) == 0:
            return np.empty((len(self.horizons), 0, len(self.feature_names) + 2))
        raw = self.booster.predict(self._rows(X), pred_contrib=True)
        return np.asarray(raw, dtype=np.float64).reshape(len(self.horizons), len(X), -1)

    def save(self, folder: Path) -> None:
        """Write `hazard.txt` (LightGBM's text format) and `hazard.json`: no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(str(folder / "hazard.txt"))
        state = {
            "feature_names": self.feature_names,
            "horizons": self.horizons,
            "slope": self.slope.tolist(),
            "intercept": self.intercept.tolist(),
        }
        (folder / "hazard.json").write_text(json.dumps(state, indent=1))

    @classmethod
    def load(cls, folder: Path) -> "HazardModel":
        """Read what `save` wrote. Raises FileNotFoundError where a file is missing."""
        import lightgbm

        state = json.loads((folder / "hazard.json").read_text())
        booster = lightgbm.Booster(model_str=(folder / "hazard.txt").read_text())
        names, horizons = tuple(state["feature_names"]), tuple(state["horizons"])
        return cls(booster, names, horizons, np.array(state["slope"]), np.array(state["intercept"]))

    def _rows(self, X: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """[H × n, F + 1] float32: every row once a bin, bins outermost."""
        n, width = np.shape(X)
        if width != len(self.feature_names):
            raise ValueError(f"{width} features given, the model was trained on {len(self.feature_names)}")
        bins = len(self.horizons)
        rows = np.empty((bins, n, width + 1), dtype=np.float32)
        rows[:, :, :width] = X
        rows[:, :, width] = np.arange(bins, dtype=np.float32)[:, None]
        return rows.reshape(bins * n, width + 1)

    def log_odds(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, H] log-odds of each bin's hazard before calibration."""
        if len(X) == 0:
            return np.empty((0, len(self.horizons)))
        z = self.booster.predict(self._rows(X), raw_score=True, num_threads=threads_for(len(X)))
        return np.asarray(z, dtype=np.float64).reshape(len(self.horizons), len(X)).T


def _weights(periods: PersonPeriods, weight: Floats | None, inverse: Floats | None) -> Floats:
    """Of each person-period row: its watched share, its row's weight, and the weight against censoring."""
    weights = periods.exposure * (1.0 if weight is None else np.asarray(weight)[periods.row])
    return weights if inverse is None else weights * inverse[periods.row, periods.bin]


def _direction(name: str) -> int:
    """LightGBM's monotone constraint of a feature: 1 raises the risk, -1 lowers it, 0 may do either."""
    if name.startswith(_LOWERING):
        return -1
    return int(name.startswith(_RAISING) or name in _RAISING_LEVELS)


def _learnable(X: NDArray[np.floating[Any]], names: tuple[str, ...]) -> NDArray[np.float32]:
    """float32 [n, F], what could be learned by heart made missing: trees cannot split on it."""
    rows = np.array(X, dtype=np.float32)
    rows[:, [i for i, name in enumerate(names) if name in _BY_HEART]] = np.nan
    return rows

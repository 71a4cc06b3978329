"""What a hazard model's score comes from: SHAP values of its features, and the features in words."""

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.hazard import HazardModel

_WINDOW = {"5m": "5 steps", "1h": "60 steps", "3h": "180 steps", "6h": "360 steps", "24h": "a day", "week": "a week"}
_PHRASES = {
    "ratio": "stands at {0:.0%} of its limit",
    "distance": "{0:.0%} of the limit is left",
    "ewma_gap": "{0:+.1%} of the limit away from its recent mean",
    "day_diff": "{0:+.1%} of the limit against the same time yesterday",
    "day_z": "{0:+.1f} deviations from the same time yesterday",
    "week_diff": "{0:+.1%} of the limit against the same time last week",
    "week_z": "{0:+.1f} deviations from the same time last week",
    "season_diff": "{0:+.1%} of the limit against what is usual at this time of day",
    "season_z": "{0:+.1f} deviations from what is usual at this time of day",
    "new_high": "{0:+.1%} of the limit against the highest of the week before",
    "failed_share_24h": "was at its limit for {0:.0%} of the last day",
    "log_history": "known for {1:.0f} steps",
    "load_slope_1h": "load of its entity moves by {0:+.1%} in 60 steps",
    "load_day_ratio": "load of its entity {1:+.0%} against yesterday",
    "use_per_load_day": "use per request {1:+.0%} against yesterday",
    "error_ratio": "error ratio of its entity is {0:.1%}",
    "latency_ratio": "response time of its entity {1:+.0%} against its day",
    "log_steps_ramp": "on the ramp that it is on {1:.0f} steps to the limit",
    "ramp_age": "on this ramp for {1:.0f} steps",
    "ramp_explained": "a ramp explains {0:.0%} of its movement",
    "ramp_slope": "on a ramp of {0:+.2%} of the limit in 60 steps",
    "ramp_bend": "its ramp is {0:.1f} times as steep in its second half",
    "ramp_rise": "this ramp has come {0:+.1%} of the limit so far",
    "log_steps_to_limit_robust": "at its steady pace {1:.0f} steps to the limit",
}
_PREFIXES = {  # longest first where one begins another
    "log_steps_to_limit_": "at the pace of the last {w} {1:.0f} steps to the limit",
    "log_steps_projected_": "on the path of usual day and trend {1:.0f} steps to the limit",
    "projected_": "usual day and trend lead to {0:.0%} of the limit in {w}",
    "residual_slope_": "beyond its usual day moves by {0:+.2%} of the limit in 60 steps over {w}",
    "season_rise_": "usually moves by {0:+.1%} of the limit in the {w} that come now",
    "robust_slope_": "steadily moves by {0:+.2%} of the limit in 60 steps over {w}",
    "acceleration_": "its pace changed by {0:+.2%} of the limit in 60 steps within {w}",
    "missing_": "{0:.0%} of its samples of {w} are missing",
    "change_": "moved by {0:+.1%} of the limit in {w}",
    "rising_": "rose at {0:.0%} of the steps of {w}",
    "slope_": "moves by {0:+.2%} of the limit in 60 steps over {w}",
    "drop_": "largest fall within {w} was {0:.1%} of the limit",
    "mean_": "was at {0:.0%} of the limit on average over {w}",
    "std_": "swings by {0:.2%} of the limit over {w}",
    "min_": "was never below {0:.0%} of the limit in {w}",
    "max_": "was at most at {0:.0%} of the limit in {w}",
}


def worst_bin_shap(model: HazardModel, X: NDArray[np.float64], last: int) -> NDArray[np.float64]:
    """SHAP values of each feature (TreeSHAP, Lundberg 2020) in log-odds, [n, F].

    Of each row the bin with the highest hazard among the first `last + 1` is explained: about 0.2 ms a row, where all
    bins take 1 ms.
    """
    if not len(X):
        return np.empty((0, len(model.feature_names)))
    worst = model.hazard(X)[:, : last + 1].argmax(1)
    rows = np.column_stack([X, worst]).astype(np.float32)
    values = np.asarray(model.booster.predict(rows, pred_contrib=True), dtype=np.float64)
    shares: NDArray[np.float64] = values[:, : len(model.feature_names)] * model.slope[worst][:, None]
    return shares


def phrase(feature_name: str, value: float) -> str:
    """What a feature says, in words: `phrase('change_6h', 0.12)` is 'moved by +12.0% of the limit in 360 steps'.

    Times are in steps, as features are; '' for a value that is missing. A feature without words is said by its name.
    """
    if not np.isfinite(value):
        return ""
    text, window = _template(feature_name)
    return text.format(value, float(np.expm1(np.clip(value, -50, 50))), w=_WINDOW.get(window, window))


def _template(name: str) -> tuple[str, str]:
    if name in _PHRASES:
        return _PHRASES[name], ""
    for prefix, text in _PREFIXES.items():
        if name.startswith(prefix):
            return text, name.removeprefix(prefix)
    return name.replace("_", " ") + " is {0:.3g}", ""

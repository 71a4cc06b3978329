"""Global importance of features by shap.TreeExplainer, held against LightGBM's own contributions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.hazard import HazardModel

_CHECKED = 40


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """SHAP values float64 [n, F] of the paging bin's log-odds, of rows float64 [n, F]."""

    names: tuple[str, ...]
    rows: NDArray[np.float64]
    values: NDArray[np.float64]
    largest_difference: float  # between shap's and LightGBM's values, in log-odds

    def ranked(self) -> list[tuple[str, float]]:
        """Features by mean absolute SHAP value, largest first."""
        mean = np.abs(self.values).mean(axis=0) if len(self.values) else np.zeros(len(self.names))
        return [(self.names[i], float(mean[i])) for i in np.argsort(-mean)]


def shap_importance(model: HazardModel, rows: NDArray[np.float64], bin_: int = 3) -> Importance:
    """Explain `rows` in the bin that ends at the paging horizon."""
    import shap

    explainer = shap.TreeExplainer(model.booster)
    with_bin = np.column_stack([rows, np.full(len(rows), float(bin_))]).astype(np.float32)
    values = np.asarray(explainer.shap_values(with_bin, check_additivity=False))
    values = values[..., 1] if values.ndim == 3 else values
    own = model.shap_by_bin(rows[:_CHECKED])[bin_][:, :-1]
    difference = float(np.abs(values[:_CHECKED] - own).max(initial=0.0))
    return Importance(model.feature_names, rows, values[:, : len(model.feature_names)], difference)

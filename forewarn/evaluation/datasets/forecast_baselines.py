"""AutoETS and AutoARIMA of statsforecast, as an evaluation compares forecasts with them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.forecaster import LEVELS, MEDIAN

Floats = NDArray[np.float64]
_INTERVALS = (20, 40, 60, 80)
_LONGEST_SEASON = 24  # AutoETS ignores longer ones, and AutoARIMA takes hours with them


def statistical_forecasts(pasts: Sequence[Floats], steps: int, season: int) -> dict[str, Floats]:
    """{name: [O, steps, 9]} for one series without missing cells, whose pasts [T_o] grow from origin to origin.

    A model is chosen and fitted on the first past; at each origin its state is brought up to date with that origin's
    (`forward`), its parameters stay. What cannot be fitted forecasts the last value.
    """
    season = season if 1 < season <= _LONGEST_SEASON and len(pasts[0]) >= 3 * season else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: _rolled(model, pasts, steps) for name, model in _models(season).items()}


def _models(season: int) -> dict[str, Any]:
    from statsforecast.models import AutoARIMA, AutoETS

    return {
        "auto_ets": AutoETS(season_length=season),
        "auto_arima": AutoARIMA(
            season_length=season, max_p=2, max_q=2, max_P=1, max_Q=1, nmodels=15, approximation=True
        ),
    }


def _rolled(model: Any, pasts: Sequence[Floats], steps: int) -> Floats:
    try:
        model.fit(pasts[0])
        rows = [_quantiles(model.forward(past, steps, level=list(_INTERVALS))) for past in pasts]
    except Exception:  # noqa: BLE001  # statsforecast raises Exception itself where no model fits
        rows = [np.repeat(past[-1], steps * len(LEVELS)).reshape(steps, -1) for past in pasts]
    return np.stack(rows)


def _quantiles(said: dict[str, Any]) -> Floats:
    """[steps, 9] from the mean and central intervals."""
    low = [said[f"lo-{level}"] for level in reversed(_INTERVALS)]
    high = [said[f"hi-{level}"] for level in _INTERVALS]
    stacked = np.stack([*low, said["mean"], *high], axis=1).astype(np.float64)
    stacked = np.where(np.isfinite(stacked), stacked, stacked[:, MEDIAN : MEDIAN + 1])
    return np.sort(stacked, axis=1)

"""Time to the limit from a signal's own trend: what is known on the first day, without any trained model."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from forewarn.features.definitions import HORIZON_STEPS, INDEX, MAX_STEPS

F64 = NDArray[np.float64]

_WINDOW_STEPS = np.array([60.0, 360.0, 1440.0])
_TRUST = np.array([1.0, 1.5, 1.0])  # six hours are long enough to be stable and short enough to be current
_SPREAD = 0.5  # deviation of ln(true / extrapolated time): about a factor of 1.6 either way
_Z80 = 1.2815515594  # half width of the central 80 % of a normal distribution


def trend_survival(features: F64) -> F64:
    """P(limit not reached within each of HORIZON_STEPS), float64 [n, H], from features [n, F].

    A lognormal mixture over the trends of the last 60, 360 and 1,440 steps. A trend weighs what it explains
    (its r-squared); the mixture is thinned where the signal falls back by itself (rotation, collection) and
    where it has stood this high before without failing.
    """
    median, weight = _candidates(features)
    horizon = np.log(np.array(HORIZON_STEPS, float))
    reached = ndtr((horizon[None, :, None] - np.log(median)[:, None, :]) / _SPREAD)
    mass = (weight[:, None, :] * reached).sum(2) / np.maximum(weight.sum(1), 1e-9)[:, None]
    strength = weight.max(1) / _TRUST.max() * _doubt(features)
    return 1.0 - mass * np.minimum(strength, 1.0)[:, None]


def trend_quantiles(features: F64) -> F64:
    """10, 50 and 90 % quantile of the steps until the limit, given that it is reached: float64 [n, 3]."""
    median, weight = _candidates(features)
    centre = np.exp((weight * np.log(median)).sum(1) / np.maximum(weight.sum(1), 1e-9))
    spread = np.exp(_Z80 * _SPREAD)
    return np.clip(np.stack([centre / spread, centre, centre * spread], 1), 1.0, MAX_STEPS)


def predict_linear_steps(features: F64) -> F64:
    """Baseline: steps until the limit by least squares over the last 60 steps, as Prometheus's predict_linear."""
    return np.expm1(np.nan_to_num(features[:, INDEX["log_steps_to_limit_1h"]], nan=np.log1p(MAX_STEPS)))


def _candidates(features: F64) -> tuple[F64, F64]:
    """Extrapolated steps and weight of each trend: float64 [n, 3] each."""
    slope = features[:, [INDEX["slope_1h"], INDEX["slope_6h"], INDEX["slope_24h"]]]
    spread = features[:, [INDEX["std_1h"], INDEX["std_6h"], INDEX["std_24h"]]]
    distance = np.maximum(features[:, [INDEX["distance"]]], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # a straight line of length w has the variance (slope * w)^2 / 12
        explained = np.clip((slope / 60 * _WINDOW_STEPS) ** 2 / 12 / spread**2, 0, 1)
        steps = np.clip(60 * distance / slope, 1.0, MAX_STEPS)
    rising = (slope > 0) & np.isfinite(steps) & np.isfinite(explained)
    return np.where(rising, steps, MAX_STEPS), np.where(rising, np.nan_to_num(explained) * _TRUST, 0.0)


def _doubt(features: F64) -> F64:
    """1 where nothing speaks against the trend, towards 0 where the signal often falls back or was this high before."""
    column = {n: np.nan_to_num(features[:, INDEX[n]]) for n in ("drop_24h", "max_24h", "min_24h", "new_high")}
    span = np.maximum(column["max_24h"] - column["min_24h"], 1e-9)
    falls_back = np.clip(1.5 - 2 * column["drop_24h"] / span, 0.1, 1.0)
    seen_before = np.where(column["new_high"] < -0.02, 0.4, 1.0)
    return falls_back * seen_before

"""Time to the limit from a signal's own trend: what is known on the first day, without any trained model."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from forewarn.features.definitions import HORIZON_STEPS, INDEX, MAX_STEPS

F64 = NDArray[np.float64]

_WINDOWS = ("1h", "3h", "6h")
_TRUST = np.array([0.5, 1.0, 1.0])  # an hour alone is often noise
_SPREAD = 0.5  # deviation of ln(true / extrapolated time): about a factor of 1.6 either way
_RAMP_SPREAD = 0.35  # the same of a ramp
_Z80 = 1.2815515594  # half width of the central 80 % of a normal distribution
_REACH = 2.0  # a ramp is believed as far ahead as it is old, times this
_FADED = 1.2  # given that it gets there, a ramp that seems to fade takes at most so many times the linear time
_YOUNG = 40.0  # steps of a ramp that are nothing yet: a spike, a warm-up, a batch
_GROWN = 180.0  # steps of history (half of the paging horizon) before which a start-up is not told from a leak


def trend_survival(features: F64) -> F64:
    """P(limit not reached within each of HORIZON_STEPS), float64 [n, H], from features [n, F].

    Where a season is known (the second day on): a lognormal mixture over the paths that season and recent trend (of
    60, 180 and 360 steps) give, thinned where the signal falls back by itself (rotation, collection) or has stood
    this high before without failing. On the first day: the ramp that the signal is on.
    """
    known = season_known(features)[:, None]
    return np.where(known, _seasonal_survival(features), _ramp_survival(features))


def trend_quantiles(features: F64) -> F64:
    """10, 50 and 90 % quantile of the steps until the limit, given that it is reached: float64 [n, 3]."""
    median, weight = _candidates(features)
    season, ramp = np.exp((weight * np.log(median)).sum(1)), _ramp_steps_if_reached(features)
    known = season_known(features) | ~(ramp < MAX_STEPS)
    centre = np.where(known, season, np.maximum(ramp, 1.0))
    spread = np.exp(_Z80 * _SPREAD)
    return np.clip(np.stack([centre / spread, centre, centre * spread], 1), 1.0, MAX_STEPS)


def predict_linear_steps(features: F64) -> F64:
    """Baseline: steps until the limit by least squares over the last 60 steps, as Prometheus's predict_linear."""
    return np.expm1(np.nan_to_num(features[:, INDEX["log_steps_to_limit_1h"]], nan=np.log1p(MAX_STEPS)))


def season_known(features: F64) -> NDArray[np.bool_]:
    """Whether the same time of an earlier day was seen, bool [n]."""
    return np.isfinite(features[:, INDEX["season_rise_1h"]])


def _ramp_steps(features: F64) -> F64:
    return np.expm1(np.nan_to_num(features[:, INDEX["log_steps_ramp"]], nan=np.log1p(MAX_STEPS)))


def _ramp_steps_if_reached(features: F64) -> F64:
    """A ramp that seems to fade and yet gets there does not fade wholly: at most _FADED times the linear time."""
    left, slope = features[:, INDEX["distance"]], np.nan_to_num(features[:, INDEX["ramp_slope"]])
    linear = 60 * np.maximum(left, 0) / np.maximum(slope, 1e-9)
    return np.minimum(_ramp_steps(features), np.where(slope > 0, _FADED * linear, MAX_STEPS))


def _ramp_survival(features: F64) -> F64:
    """Lognormal time to the limit, times how far the ramp is to be believed.

    A ramp is believed where it explains the series, is old against what is extrapolated, and is neither a spike
    nor a start-up.
    """
    steps = np.maximum(_ramp_steps(features), 1.0)
    column = {n: np.nan_to_num(features[:, INDEX[n]]) for n in ("ramp_age", "ramp_explained", "log_history")}
    age, history = np.expm1(column["ramp_age"]), np.expm1(column["log_history"])
    reach = expit(6 * (np.log(_REACH * np.maximum(age, 1.0)) - np.log(steps)))
    explained = expit(20 * (column["ramp_explained"] - 0.6))
    grown = expit((age - _YOUNG) / 5) * expit((history - _GROWN) / 5)
    horizon = np.log(np.array(HORIZON_STEPS, float))
    reached = ndtr((horizon[None] - np.log(steps)[:, None]) / _RAMP_SPREAD)
    survival: F64 = 1.0 - reached * (reach * explained * grown)[:, None]
    return survival


def _seasonal_survival(features: F64) -> F64:
    median, weight = _candidates(features)
    horizon = np.log(np.array(HORIZON_STEPS, float))
    reached = ndtr((horizon[None, :, None] - np.log(median)[:, None, :]) / _SPREAD)
    mass = (weight[:, None, :] * reached).sum(2)
    return 1.0 - mass * _doubt(features)[:, None]


def _candidates(features: F64) -> tuple[F64, F64]:
    """Steps until each path reaches the limit and its weight, float64 [n, 3] each; a path without data: 0."""
    log_steps = features[:, [INDEX[f"log_steps_projected_{w}"] for w in _WINDOWS]]
    known = np.isfinite(log_steps)
    steps = np.clip(np.expm1(np.where(known, log_steps, np.log1p(MAX_STEPS))), 1.0, MAX_STEPS)
    weight = np.where(known, _TRUST, 0.0)
    return steps, weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)


def _doubt(features: F64) -> F64:
    """1 where nothing speaks against the trend, towards 0 where the signal often falls back or was this high before.

    The fall that ends a failure is a repair, no habit of the signal: for a day after one, the last six hours alone
    tell whether it falls back by itself, and nothing does while the failure lies in them.
    """
    failed = {w: np.nan_to_num(features[:, INDEX[f"max_{w}"]]) >= 1.0 for w in ("6h", "24h")}
    after_failure = np.where(failed["6h"], 1.0, _kept_after_falls(features, "6h"))
    falls_back = np.where(failed["24h"], after_failure, _kept_after_falls(features, "24h"))
    seen_before = np.where(np.nan_to_num(features[:, INDEX["new_high"]]) < 0, 0.5, 1.0)
    return falls_back * seen_before


def _kept_after_falls(features: F64, window: str) -> F64:
    """From 1 (no fall beyond a quarter of its span) down to 0.1 (one fall of most of it)."""
    column = {n: np.nan_to_num(features[:, INDEX[f"{n}_{window}"]]) for n in ("drop", "max", "min")}
    return np.clip(1.5 - 2 * column["drop"] / np.maximum(column["max"] - column["min"], 1e-9), 0.1, 1.0)

"""What is unusual about an entity, as numbers and as a sentence."""

import warnings

import numpy as np
from numpy.typing import NDArray

from forewarn.risk.quantities import format_duration, format_value
from forewarn.risk.records import UnusualSignal
from forewarn.telemetry.samples import Series

F64 = NDArray[np.float64]

MOST_DRIVERS = 5
_LEAST_SHARE = 0.05  # of the anomaly; the first driver is always named
_USUAL = (2.5, 97.5)  # percentiles of the past between which a value is usual
_SHOWN = 3  # drivers in the sentence


def describe(
    entity: str, series: list[Series], parts: F64, past: F64, recent: int, step_seconds: float
) -> tuple[list[UnusualSignal], str]:
    """Signals that contribute most, and a sentence.

    parts: [C] squared errors; past: [C, n] cells, the newest last, of which the last `recent` are told apart.
    """
    beyond = np.maximum(parts - 1.0, 0.0)  # 1 is usual
    shares = beyond / max(float(beyond.sum()), 1e-12)
    order = np.argsort(-shares, kind="stable")[:MOST_DRIVERS]
    named = [i for n, i in enumerate(order.tolist()) if n == 0 or shares[i] >= _LEAST_SHARE]
    drivers = [_driver(series[i], past[i], recent, float(shares[i])) for i in named]
    what = "; ".join(_phrase(series[i], d) for i, d in zip(named[:_SHOWN], drivers, strict=False))
    span = format_duration((past.shape[1] - recent) * step_seconds)
    return drivers, f"{entity} is not as its last {span} let expect: {what}"


def _driver(series: Series, past: F64, recent: int, share: float) -> UnusualSignal:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a signal without values has no range
        low, middle, high = np.nanpercentile(past[:-recent], [_USUAL[0], 50.0, _USUAL[1]])
    now = past[-recent:][~np.isnan(past[-recent:])]
    value = float(now[np.abs(now - middle).argmax()]) if len(now) and np.isfinite(middle) else None
    return UnusualSignal(series.name, value, _known(low), _known(high), round(share, 3))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _phrase(series: Series, driver: UnusualSignal) -> str:
    def number(value: float | None) -> str:
        return "unknown" if value is None else format_value(value, series.unit, series.signal)

    low, high = number(driver.usual_low), number(driver.usual_high)
    usual = low if low == high else f"{low} to {high}"
    return f"{driver.signal} {number(driver.value)} (usual: {usual})"

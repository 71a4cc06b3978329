"""Why: what pushes a risk, each reason with its numbers and tested by taking it away."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from forewarn.features.definitions import FEATURE_NAMES, INDEX
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.quantities import format_share, format_value
from forewarn.risk.records import Driver
from forewarn.telemetry.samples import Series

F64 = NDArray[np.float64]

_GROUPS: dict[str, tuple[str, ...]] = {
    "trend": ("slope", "acceleration", "change", "ewma", "log_steps", "robust", "rising", "ramp"),
    "level": ("ratio", "mean", "min", "max", "std", "distance", "new_high", "failed_share"),
    "season": ("day_", "week_"),
    "load": ("load_", "use_per_load"),
    "errors": ("error_ratio",),
    "latency": ("latency_ratio",),
}
COLUMNS = {  # group -> its features; what a deletion test takes away at once
    group: [i for i, name in enumerate(FEATURE_NAMES) if name.startswith(prefixes)]
    for group, prefixes in _GROUPS.items()
}
_CLOCK = re.compile(r"uptime|start_?time|timestamp|\.time$")  # what always grows moves with whatever grows
_RAISED = 0.1  # load or latency is worth telling from 10 % on
_TOGETHER = 0.8  # |correlation| from which on signals moved together
_CHANGED = 0.15  # relative change from which on a signal moved
_WORTH_TELLING = 0.05  # share of the risk that must go when a reason is taken away


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The limited series that a risk is about: its features float64 [F], its latest value and its limit."""

    series: Series
    features: F64
    value: float
    limit: float


def own_drivers(subject: Subject, without: F64, step_seconds: float) -> list[Driver]:
    """Reasons in the signal's own features, largest first.

    without: [G], the deletion test: the share by which the probability falls when the features of a group of
    COLUMNS are made missing; it is the contribution. Groups that take away less than 5 % are left out.
    """
    drivers = [
        Driver(subject.series.entity, subject.series.name, text, float(min(part, 1.0)))
        for group, part in zip(COLUMNS, without, strict=True)
        if part >= _WORTH_TELLING and (text := _sentence(group, subject, step_seconds))
    ]
    return sorted(drivers, key=lambda d: -d.contribution)


def _sentence(group: str, subject: Subject, step_seconds: float) -> str:
    """The reason of a group as a noun phrase ('driven by …'); '' where its numbers are missing or say nothing.

    Load, errors and latency are told only where they are raised: that the model also leans on their being low is
    true, and no help to a reader.
    """
    f = {name: float(subject.features[INDEX[name]]) for name in FEATURE_NAMES}
    entity = subject.series.entity
    what = failure_mode(subject.series.signal).what
    per_hour = 60.0 / step_seconds  # features count per 60 steps
    if group == "trend":
        slope = next((f[n] for n in ("slope_1h", "slope_6h", "slope_24h") if f[n] > 0), np.nan)
        amount = format_value(slope * subject.limit * per_hour, subject.series.unit, subject.series.signal)
        return f"its growth of {amount} per hour" if np.isfinite(slope) else ""
    if group == "level":
        high = ", higher than all week without failing" if f["new_high"] > 0 else ""
        return f"the {what} standing at {format_share(subject.value / subject.limit)} of its limit{high}"
    if group == "season":
        excess = f["season_diff"] if np.isfinite(f["season_diff"]) else f["day_diff"]
        return f"{format_share(excess)} of the limit more in use than usual at this time" if excess > 0.05 else ""
    if group == "load":
        above = np.expm1(f["load_day_ratio"])
        if above > _RAISED:
            return f"a request rate of {entity} {format_share(above)} above yesterday's"
        slope = f["load_slope_1h"] * per_hour
        return f"a request rate of {entity} growing by {format_share(slope)} per hour" if slope > _RAISED else ""
    if group == "errors":
        return f"an error ratio of {entity} of {format_share(f['error_ratio'])}" if f["error_ratio"] > 0.01 else ""
    rise = np.expm1(f["latency_ratio"])
    return f"a response time of {entity} {format_share(rise)} above its day's" if rise > _RAISED else ""


def companions(
    target: NDArray[np.float32], others: NDArray[np.float32], series: Sequence[Series], most: int = 2
) -> list[Driver]:
    """Signals that moved with the target in the last hours; named as hypotheses: they were not tested by deletion.

    target: float32 [T]; others: float32 [S, T] of the same cells. A companion changed by at least 15 % between the
    first and the last sixth, and |correlation| with the target, or with the target up to 30 cells later, is at
    least 0.8.
    """
    found = []
    changes, correlations, lags = _movements(target, others)
    for i in np.flatnonzero(np.abs(correlations) >= _TOGETHER).tolist():
        one, correlation = series[i], correlations[i]
        if _is_clock(one.signal):
            continue
        ahead = f", {lags[i]} steps earlier" if lags[i] else ""
        text = f"{one.name} of {one.entity} changed by {changes[i]:+.0%} with it (r = {correlation:.2f}{ahead})"
        found.append((abs(correlation), Driver(one.entity, one.name, text, 0.0, hypothesis=True)))
    found.sort(key=lambda pair: -pair[0])
    return [driver for _, driver in found[:most]]


@lru_cache(maxsize=65536)
def _is_clock(signal: str) -> bool:
    return bool(_CLOCK.search(signal))


def compile_kernels() -> None:
    """Compile what the first risk would wait for."""
    cells = np.arange(60, dtype=np.float32)
    _movements(cells, cells[None])


@njit(cache=True)
def _movements(target: NDArray[np.float32], others: NDArray[np.float32]) -> tuple[F64, F64, NDArray[np.int64]]:
    """Of each row of others [S, T]: its change from the first to the last sixth, relative; its strongest correlation
    with the target (0 where it changed by less than _CHANGED: the correlation is dear) and the lag of that."""
    rows, count = len(others), len(target) // 6
    changes, correlations, lags = np.full(rows, np.nan), np.zeros(rows), np.zeros(rows, np.int64)
    for i in range(rows):
        before, after = _mean(others[i, :count]), _mean(others[i, len(target) - count :])
        if before == 0.0 or np.isnan(before) or np.isnan(after):
            continue
        changes[i] = (after - before) / abs(before)
        if abs(changes[i]) >= _CHANGED:
            correlations[i], lags[i] = _lagged_correlation(others[i], target)
    return changes, correlations, lags


@njit(cache=True)
def _mean(cells: NDArray[np.float32]) -> float:
    total, there = 0.0, 0
    for value in cells:
        if np.isfinite(value):
            total += value
            there += 1
    return total / there if there else np.nan


@njit(cache=True)
def _lagged_correlation(cause: NDArray[np.float32], effect: NDArray[np.float32]) -> tuple[float, int]:
    """Strongest Pearson correlation of effect[t] with cause[t - lag], lag in 0, 5 … 30 cells."""
    best, best_lag = 0.0, 0
    for lag in range(0, min(31, len(cause) // 3), 5):
        correlation = _correlation(cause[: len(cause) - lag], effect[lag:])
        if abs(correlation) > abs(best) + 0.02:  # a longer lag must explain more to be preferred
            best, best_lag = correlation, lag
    return best, best_lag


@njit(cache=True)
def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's, of the cells that both have; 0 for fewer than 20, or where one does not move."""
    n, sx, sy = 0, 0.0, 0.0
    for i in range(len(one)):
        if np.isfinite(one[i]) and np.isfinite(other[i]):
            n += 1
            sx += one[i]
            sy += other[i]
    if n < 20:
        return 0.0
    mx, my, sxx, syy, sxy = sx / n, sy / n, 0.0, 0.0, 0.0
    for i in range(len(one)):
        if np.isfinite(one[i]) and np.isfinite(other[i]):
            x, y = one[i] - mx, other[i] - my
            sxx += x * x
            syy += y * y
            sxy += x * y
    least = 1e-12 * n
    if sxx <= least * mx * mx or syy <= least * my * my:
        return 0.0
    return sxy / np.sqrt(sxx * syy)

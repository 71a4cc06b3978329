"""Why: what pushes a risk, each reason with its numbers and tested by taking it away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import FEATURE_NAMES, INDEX
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.quantities import format_value
from forewarn.risk.records import Driver
from forewarn.risk.scorer import PAGING_HORIZON, Scorer
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
_COLUMNS = {
    group: [i for i, name in enumerate(FEATURE_NAMES) if name.startswith(prefixes)]
    for group, prefixes in _GROUPS.items()
}
_WORTH_TELLING = 0.05  # share of the risk that must go when a reason is taken away


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The limited series that a risk is about: its features float64 [F], its latest value and its limit."""

    series: Series
    features: F64
    value: float
    limit: float


def own_drivers(subject: Subject, scorer: Scorer, step_seconds: float) -> list[Driver]:
    """Reasons in the signal's own features, largest first.

    Deletion test: the features of a group are made missing and the row is scored again; the share by which the
    probability falls is the contribution. Groups that take away less than 5 % are left out.
    """
    rows = np.repeat(subject.features[None], len(_COLUMNS) + 1, 0)
    for k, columns in enumerate(_COLUMNS.values(), start=1):
        rows[k, columns] = np.nan
    risk = 1.0 - scorer.survival(rows)[:, PAGING_HORIZON]
    share = (risk[0] - risk[1:]) / max(risk[0], 1e-9)
    drivers = [
        Driver(subject.series.entity, subject.series.name, text, float(min(part, 1.0)))
        for group, part in zip(_COLUMNS, share, strict=True)
        if part >= _WORTH_TELLING and (text := _sentence(group, subject, step_seconds))
    ]
    return sorted(drivers, key=lambda d: -d.contribution)


def _sentence(group: str, subject: Subject, step_seconds: float) -> str:
    """The reason of a group in words; '' where its numbers are missing."""
    f = {name: subject.features[INDEX[name]] for name in FEATURE_NAMES}
    limit, unit = subject.limit, subject.series.unit
    what = f"{failure_mode(subject.series.signal).what} of {subject.series.entity}"
    per_hour = 60.0 / step_seconds  # features count per 60 steps
    if group == "trend":
        slope = next((f[n] for n in ("slope_1h", "slope_6h", "slope_24h") if f[n] > 0), np.nan)
        amount = format_value(slope * limit * per_hour, unit, subject.series.signal)
        return f"{what} grows by {amount} an hour" if np.isfinite(slope) else ""
    if group == "level":
        high = ", the highest of the week" if f["new_high"] > 0 else ""
        return f"{what} stands at {subject.value / limit:.0%} of its limit{high}"
    if group == "season":
        return (
            f"{what} is {f['day_diff']:+.0%} of the limit against the same time yesterday"
            if np.isfinite(f["day_diff"])
            else ""
        )
    if group == "load":
        if np.isfinite(f["load_day_ratio"]) and abs(f["load_day_ratio"]) > 0.1:
            return f"request rate of {subject.series.entity} {np.expm1(f['load_day_ratio']):+.0%} against yesterday"
        slope = f["load_slope_1h"] * per_hour
        return f"request rate of {subject.series.entity} {slope:+.0%} an hour" if np.isfinite(slope) else ""
    if group == "errors":
        return f"error ratio of {subject.series.entity} is {f['error_ratio']:.1%}" if f["error_ratio"] > 0 else ""
    rise = np.expm1(f["latency_ratio"])
    return f"response time of {subject.series.entity} {rise:+.0%} against its day" if np.isfinite(rise) else ""


def companions(
    target: NDArray[np.float32], others: NDArray[np.float32], series: Sequence[Series], most: int = 2
) -> list[Driver]:
    """Signals that moved with the target in the last hours; named as hypotheses: they were not tested by deletion.

    target: float32 [T]; others: float32 [S, T] of the same cells. A companion changed by at least 15 % between the
    first and the last sixth, and |correlation| with the target, or with the target up to 30 cells later, is at
    least 0.8.
    """
    found = []
    count = len(target) // 6
    for row, one in zip(others, series, strict=True):
        before, after = _mean(row[:count]), _mean(row[-count:])
        with np.errstate(all="ignore"):
            change = (after - before) / abs(before) if before else np.nan
        if not (np.isfinite(change) and abs(change) >= 0.15):
            continue  # before the correlation, which is dear
        correlation, lag = _lagged_correlation(row, target)
        if abs(correlation) >= 0.8:
            ahead = f", {lag} steps earlier" if lag else ""
            text = f"{one.name} of {one.entity} changed by {change:+.0%} with it (r = {correlation:.2f}{ahead})"
            found.append((abs(correlation), Driver(one.entity, one.name, text, 0.0, hypothesis=True)))
    found.sort(key=lambda pair: -pair[0])
    return [driver for _, driver in found[:most]]


def _mean(cells: NDArray[np.float32]) -> float:
    there = cells[np.isfinite(cells)]
    return float(there.mean()) if len(there) else np.nan


def _lagged_correlation(cause: NDArray[np.float32], effect: NDArray[np.float32]) -> tuple[float, int]:
    """Strongest Pearson correlation of effect[t] with cause[t - lag], lag in 0, 5 … 30 cells."""
    best, best_lag = 0.0, 0
    for lag in range(0, min(31, len(cause) // 3), 5):
        a, b = cause[: len(cause) - lag].astype(np.float64), effect[lag:].astype(np.float64)
        there = np.isfinite(a) & np.isfinite(b)
        if there.sum() < 20 or np.ptp(a[there]) == 0 or np.ptp(b[there]) == 0:
            continue
        correlation = float(np.corrcoef(a[there], b[there])[0, 1])
        if abs(correlation) > abs(best) + 0.02:  # a longer lag must explain more to be preferred
            best, best_lag = correlation, lag
    return best, best_lag

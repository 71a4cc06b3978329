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
from forewarn.risk.quantities import format_change, format_duration, format_share
from forewarn.risk.records import Driver
from forewarn.telemetry.queries import compared, promql_range, query_of
from forewarn.telemetry.samples import Kind, Series

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

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
_SAME = 0.9995  # |correlation| from which on two signals are one
_PACES = (  # words for a pace, seconds of them, and the time left below which they are used
    ("minute", 60.0, 5_400.0),
    ("hour", 3_600.0, 172_800.0),
)
_SLOW = "day", 86_400.0
_TOGETHER = 0.8  # |correlation| from which on signals moved together
_CHANGED = 0.15  # relative change from which on a signal moved
_WORTH_TELLING = 0.05  # share of the risk that must go when a reason is taken away


@dataclass(frozen=True, slots=True)
class Roles:
    """The series that tell how much an entity is asked, how often it fails and how long it takes; None: not known."""

    load: Series | None = None
    errors: Series | None = None
    latency: Series | None = None


@dataclass(frozen=True, slots=True)
class _Reason:
    """A noun phrase ('driven by …'), the series that it is about, and the query that shows it."""

    text: str
    series: Series
    query: str


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The limited series that a risk is about: its features float64 [F], its latest value and its limit."""

    series: Series
    features: F64
    value: float
    limit: float
    roles: Roles = Roles()
    left_seconds: float = np.inf  # median time to the limit


def own_drivers(subject: Subject, without: F64, attributed: F64, step_seconds: float) -> list[Driver]:
    """Reasons in the signal's own features, largest first, then those in the load, errors and latency of its entity.

    without: [G], the deletion test: the share by which the probability falls when the features of a group of
    COLUMNS are made missing; it is the contribution. Groups that take away less than 5 % are left out.
    attributed: [G], the share of each group by SHAP values, NaN where the model has none.
    """
    drivers = []
    for group, part, share in zip(COLUMNS, without, attributed, strict=True):
        reason = _reason(group, subject, step_seconds) if part >= _WORTH_TELLING else None
        if reason is not None:
            known = float(share) if np.isfinite(share) else None
            entity, name = reason.series.entity, reason.series.name
            drivers.append(Driver(entity, name, reason.text, float(min(part, 1.0)), False, reason.query, known))
    own = (subject.series.entity, subject.series.name)
    return sorted(drivers, key=lambda d: ((d.entity, d.signal) != own, -d.contribution))


def _reason(group: str, subject: Subject, step_seconds: float) -> _Reason | None:
    """The reason of a group; None where its numbers are missing or say nothing."""
    own = {"trend": _growth, "level": _level, "season": _season}
    if group in own:
        return own[group](subject, step_seconds)
    about = {"load": _load, "errors": _errors, "latency": _latency}
    series = getattr(subject.roles, group)
    return about[group](subject, series, step_seconds) if series is not None else None


def _growth(subject: Subject, step_seconds: float) -> _Reason | None:
    """The steepest rise that lasts: of the shortest window that rises."""
    s, steps = subject.series, {"slope_1h": 60, "slope_6h": 360, "slope_24h": 1440}
    window = next((w for w, count in steps.items() if _rises(subject, w, count)), None)
    if window is None:
        return None
    known = max(float(np.expm1(np.nan_to_num(_feature(subject, "log_history")))), 60.0)
    span = min(steps[window], known) * step_seconds
    per_second = _feature(subject, window) * subject.limit / (60.0 * step_seconds)
    unit, size = next(((u, z) for u, z, most in _PACES if subject.left_seconds < most), _SLOW)
    amount = format_change(per_second * size, s.unit, s.signal)
    query = query_of(s, 5 * step_seconds)
    slope = (
        f"deriv({query}[{promql_range(span)}]) * {size:g}" if s.kind is Kind.GAUGE and query.endswith("}") else query
    )
    return _Reason(f"its growth of {amount} per {unit} over the last {format_duration(span)}", s, slope)


def _rises(subject: Subject, window: str, steps: int) -> bool:
    """Whether the fitted line and the two ends of a window both say so, and it was not lost again lately."""
    slope, lately = _feature(subject, window), _feature(subject, "change_1h")
    change = _feature(subject, window.replace("slope", "change"))
    lost = lately < -0.1 * slope * steps / 60
    return slope > 0 and not change <= 0 and not lost


def _level(subject: Subject, step_seconds: float) -> _Reason | None:
    s, high = subject.series, ""
    if _feature(subject, "new_high") > 0:
        known = min(float(np.expm1(_feature(subject, "log_history"))), 10_080.0) * step_seconds
        high = f", higher than at any time in the {format_duration(known)} before" if known > 0 else ""
    mode, share = failure_mode(s.signal), format_share(subject.value / subject.limit)
    whose = mode.what + ("'" if mode.what.endswith("s") else "'s")
    text = f"the {mode.what} already at {share} of its limit"
    if mode.mode not in ("error_rate_climb", "latency_breach"):
        text = f"{share} of the {whose} limit already in use"
    return _Reason(f"{text}{high}", s, share_query(subject, 5 * step_seconds))


def share_query(subject: Subject, range_seconds: float) -> str:
    """How much of the limit is in use, as a query."""
    query = query_of(subject.series, range_seconds)
    return query and f"{query} / {np.format_float_positional(np.float32(subject.limit), trim='-')}"


def _season(subject: Subject, step_seconds: float) -> _Reason | None:
    season = _feature(subject, "season_diff")
    excess = season if np.isfinite(season) else _feature(subject, "day_diff")
    if not excess > 0.05:
        return None
    text = f"{format_share(excess)} of the limit more in use than is usual at this time"
    return _Reason(text, subject.series, compared(subject.series, "-", 1440 * step_seconds, 5 * step_seconds))


# Load, errors and latency are told only where they are raised: that the model also leans on their being low is true,
# and no help to a reader.
def _load(subject: Subject, series: Series, step_seconds: float) -> _Reason | None:
    above = float(np.expm1(_feature(subject, "load_day_ratio")))
    if above > _RAISED:
        text = f"a request rate of {series.entity} {format_share(above)} above yesterday's"
        return _Reason(text, series, compared(series, "/", 1440 * step_seconds, 5 * step_seconds))
    slope = _feature(subject, "load_slope_1h") * 3600 / (60.0 * step_seconds)
    if not slope > _RAISED:
        return None
    unit, size = next(((u, z) for u, z, most in _PACES if subject.left_seconds < most), _SLOW)
    grew = format_share(slope * size / 3600)
    return _Reason(
        f"a request rate of {series.entity} growing by {grew} per {unit}", series, query_of(series, 5 * step_seconds)
    )


def _errors(subject: Subject, series: Series, step_seconds: float) -> _Reason | None:
    ratio = _feature(subject, "error_ratio")
    text = f"an error ratio of {series.entity} of {format_share(ratio)}"
    return _Reason(text, series, query_of(series, 5 * step_seconds)) if ratio > 0.01 else None


def _latency(subject: Subject, series: Series, step_seconds: float) -> _Reason | None:
    rise = float(np.expm1(_feature(subject, "latency_ratio")))
    if not rise > _RAISED:
        return None
    query, day = query_of(series, 5 * step_seconds), promql_range(1440 * step_seconds)
    known = min(float(np.expm1(_feature(subject, "log_history"))), 1440.0) * step_seconds
    text = (
        f"a response time of {series.entity} {format_share(rise)} above its mean of the last {format_duration(known)}"
    )
    mean = f"avg_over_time({query}[{day}])" if query.endswith("}") else f"avg_over_time(({query})[{day}:])"
    return _Reason(text, series, query and f"{query} / {mean} - 1")


def _feature(subject: Subject, name: str) -> float:
    return float(subject.features[INDEX[name]])


def companions(
    target: F32, others: F32, series: Sequence[Series], entity: str = "", step_seconds: float = 60.0, most: int = 2
) -> list[Driver]:
    """Signals that moved with the target in the last hours; named as hypotheses: they were not tested by deletion.

    target: float32 [T]; others: float32 [S, T] of the same cells. A companion changed by at least 15 % between the
    first and the last sixth, and |correlation| with the target, or with the target up to 30 cells later, is at
    least 0.8. What moves exactly as the target does at the same `entity` is the same thing measured otherwise.
    """
    found = []
    changes, correlations, lags = _movements(target, others)
    for i in np.flatnonzero(np.abs(correlations) >= _TOGETHER).tolist():
        one, correlation = series[i], correlations[i]
        if _is_clock(one.signal) or (one.entity == entity and abs(correlation) >= _SAME):
            continue
        when = f"{format_duration(lags[i] * step_seconds)} before" if lags[i] else "at the same time"
        moved = f"{'rose' if changes[i] > 0 else 'fell'} by {format_share(abs(changes[i]))}"
        text = f"{one.name} of {one.entity}, which {moved} {when} (correlation {correlation:.2f})"
        driver = Driver(one.entity, one.name, text, 0.0, hypothesis=True, query=query_of(one, 5 * step_seconds))
        found.append((abs(correlation), driver))
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

"""What people have without a predictor: predict_linear, a static threshold and seasonal naive, told as pages."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.walk_forward.pages import Estimate, Page
from forewarn.risk.catalogue import failure_mode
from forewarn.telemetry.recording import Recording

F64 = NDArray[np.float64]

WINDOW_STEPS, SHARE, FEWEST_STEPS = 600, 0.25, 30  # the last quarter of a trailing window: 30 to 150 steps
HORIZON_STEPS = 180
HELD_STEPS = 15
STATIC_RATIO = 0.9
SEASON_STEPS = 1440


def predict_linear(ratio: F64) -> F64:
    """Steps until the limit by least squares over the last quarter of the past (at most 600 steps); inf for never.

    ratio: float64 [C] of one signal over its limit, NaN missing.
    """
    left = np.full(len(ratio), np.inf)
    for i in range(FEWEST_STEPS, len(ratio)):
        count = int(np.clip(SHARE * min(i, WINDOW_STEPS), FEWEST_STEPS, SHARE * WINDOW_STEPS))
        y = ratio[i + 1 - count : i + 1]
        there = np.isfinite(y)
        if there.sum() < FEWEST_STEPS // 2:
            continue
        t = np.arange(1 - count, 1, dtype=float)[there]
        slope, level = np.polyfit(t, y[there], 1)
        left[i] = (1 - level) / slope if slope > 0 else np.inf
        if level >= 1:
            left[i] = 0.0
    return left


def static_threshold(ratio: F64) -> F64:
    """0 where the signal is above 90 % of its limit, inf elsewhere."""
    return np.where(ratio >= STATIC_RATIO, 0.0, np.inf)


def seasonal_naive(ratio: F64) -> F64:
    """Steps until the limit if the next steps repeat those of a day (1440 steps) ago; inf on the first day."""
    left = np.full(len(ratio), np.inf)
    for i in range(SEASON_STEPS, len(ratio)):
        reached = np.flatnonzero(ratio[i - SEASON_STEPS + 1 : i - SEASON_STEPS + 1 + HORIZON_STEPS] >= 1)
        left[i] = reached[0] + 1 if len(reached) else np.inf
    return left


BASELINES: dict[str, Callable[[F64], F64]] = {
    "predict_linear": predict_linear,
    "static_90": static_threshold,
    "seasonal_naive": seasonal_naive,
}


def baseline_pages(recording: Recording, step: float, method: Callable[[F64], F64]) -> list[Page]:
    """An alert on each limited signal where the method says 'within HORIZON_STEPS' for HELD_STEPS."""
    pages: list[Page] = []
    for limit in recording.limits:
        if limit.value > 0 and limit.series in recording.metrics.series:
            start, ratio = _cells(recording, limit.series, limit.value, step)
            left = method(ratio)
            for first, last in _held(left <= HORIZON_STEPS):
                pages.append(_page(limit.series.entity, limit.series.signal, start, step, left, first, last))
    return pages


def _page(entity: str, signal: str, start: float, step: float, left: F64, first: int, last: int) -> Page:
    page = Page(
        entity, signal, failure_mode(signal).mode, start + first * step, start + last * step, [(entity, signal)]
    )
    for i in range(first, last + 1):
        if np.isfinite(left[i]) and left[i] > 0:
            page.estimates.append(Estimate(start + i * step, *([float(left[i] * step)] * 3)))
    return page


def _cells(recording: Recording, series: object, limit: float, step: float) -> tuple[float, F64]:
    """Time of the end of the first cell and the means of the cells, relative to the limit."""
    m = recording.metrics
    own = m.index == [s == series for s in m.series].index(True)
    cell = m.times[own] // int(step * 1e9)
    place = cell - cell[0]
    count = np.bincount(place)
    with np.errstate(invalid="ignore"):
        return float((cell[0] + 1) * step), np.bincount(place, m.values[own]) / count / limit


def _held(flag: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], flag.astype(int), [0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a) + HELD_STEPS - 1, int(b) - 1) for a, b in zip(starts, stops, strict=True) if b - a >= HELD_STEPS]

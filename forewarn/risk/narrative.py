"""What a risk shows beside its numbers: evidence, advice with computed effects, and the picture's data."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import HORIZON_STEPS, INDEX, MAX_STEPS, MEDIUM_STEPS
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.drivers import Subject, share_query
from forewarn.risk.quantities import format_change, format_duration, format_interval, format_share, format_value
from forewarn.risk.records import Action, Forecast
from forewarn.risk.regime import LOOP_RESTARTS, LOOP_STEPS, SILENT_STEPS, Shift
from forewarn.risk.scorer import Scores
from forewarn.telemetry.queries import compared, promql, promql_range
from forewarn.telemetry.samples import Series

_CEILING = np.log1p(MAX_STEPS)
_SLOPES = {  # which slope a time to the limit follows from
    "to_limit_1h": "slope_1h", "to_limit_6h": "slope_6h", "to_limit_24h": "slope_24h",
    "to_limit_robust": "robust_slope_6h", "projected_1h": "residual_slope_1h", "projected_3h": "residual_slope_3h",
    "projected_6h": "residual_slope_6h", "ramp": "ramp_slope",
}  # fmt: skip
RAISED = 1.4  # the limit that 'what if' tries, relative to the limit that is


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of fact with its numbers, and the query that shows them."""

    text: str
    query: str


def evidence_of(subject: Subject, step_seconds: float) -> list[Evidence]:
    """Sentences of fact about the signal, each with its numbers and its query."""
    s, f = subject.series, subject.features
    hour, day = 60 * step_seconds, 1440 * step_seconds
    known = float(np.expm1(np.nan_to_num(f[INDEX["log_history"]]))) * step_seconds
    value, limit = (format_value(v, s.unit, s.signal) for v in (subject.value, subject.limit))
    share = format_share(subject.value / subject.limit)
    said = [Evidence(f"{s.name} is {value} of {limit} ({share})", share_query(subject, 5 * step_seconds))]
    for name, span, against in (("change_1h", hour, False), ("day_diff", day, True)):
        change = float(f[INDEX[name]] * subject.limit)
        if np.isfinite(change):
            text = _changed(change, subject, format_duration(span), against)
            said.append(Evidence(text, compared(s, "-", span, 5 * step_seconds)))
    missing = f[INDEX["missing_24h"]]
    if missing > 0.05:
        span = min(day, known) if known > 0 else day
        said.append(
            Evidence(
                f"{format_share(missing)} of its last {format_duration(span)} is missing",
                f"count_over_time({promql(s)}[{promql_range(span)}])" if promql(s).endswith("}") else "",
            )
        )
    return said


def _changed(change: float, subject: Subject, span: str, against: bool) -> str:
    """`it rose by 8.6 MiB in the last 60 s`, `it is 8.6 MiB higher than at the same time 1 d ago`."""
    amount = format_change(change, subject.series.unit, subject.series.signal)
    if float(f"{change:.3g}") == 0:
        return f"it is as high as at the same time {span} ago" if against else f"it did not change in the last {span}"
    if against:
        return f"it is {amount} {'higher' if change > 0 else 'lower'} than at the same time {span} ago"
    return f"it {'rose' if change > 0 else 'fell'} by {amount} in the last {span}"


def actions_of(subject: Subject, now: Scores, raised: Scores, step_seconds: float) -> list[Action]:
    """Advice of the catalogue; where it says to raise the limit, what that would change is computed.

    now, raised: scores (one row each) with the limit as it is and RAISED times as high.
    """
    s = subject.series
    words = {
        "entity": s.entity,
        "limit": format_value(subject.limit, s.unit, s.signal),
        "raised": format_value(RAISED * subject.limit, s.unit, s.signal),
    }
    effect = (
        f": the breach moves from {format_duration(now.quantiles[0, 1] * step_seconds)} to "
        f"{_breach(raised, step_seconds)}; its probability within {format_duration(360 * step_seconds)} falls from "
        f"{format_share(now.probability[0])} to {format_share(raised.probability[0])}"
    )
    helps = raised.probability[0] < 0.8 * now.probability[0]
    return [
        Action(advice.text.format(**words) + (effect if advice.what_if and helps else ""), advice.link)
        for advice in failure_mode(s.signal).actions
        if helps or not advice.what_if
    ]


def _breach(scores: Scores, step_seconds: float) -> str:
    """When the limit is reached, with its uncertainty; where that is unlikely, how far beyond it lies."""
    longest = HORIZON_STEPS[-1] * step_seconds
    if scores.survival[0, -1] > 0.5:
        return f"more than {format_duration(longest)} ({format_share(scores.survival[0, -1])}: not within that)"
    p10, p50, p90 = (float(q) * step_seconds for q in scores.quantiles[0])
    return f"{format_duration(p50)} (80 %: {format_interval(p10, p90)})"


def stepped(series: Series, shift: Shift, step_seconds: float) -> str:
    """The note about a level that stepped up with a restart: how far, when, and for how long nothing is said."""
    return (
        f"the level of {series.name} changed by +{format_share(shift.share)} of its limit with the restart at "
        f"{_clock(shift.cell, step_seconds)}: watched anew for {SILENT_STEPS} steps"
    )


def regime_of(shift: Shift | None, restarts: int, step_seconds: float) -> list[str]:
    """Sentences about the level that counts since a restart, and about a crash loop; none where there is neither."""
    said = []
    if shift and shift.back < 0:
        said.append(
            f"what came before the restart at {_clock(shift.cell, step_seconds)} is counted "
            f"{format_share(shift.share)} of the limit higher, as the level stepped up by that"
        )
    if restarts >= LOOP_RESTARTS:
        said.append(f"restarted {restarts} times in the last {format_duration(LOOP_STEPS * step_seconds)}")
    return said


def _clock(cell: int, step_seconds: float) -> str:
    form = "%H:%M" if step_seconds >= 60 else "%H:%M:%S"
    return datetime.fromtimestamp(cell * step_seconds, UTC).strftime(form)


def raise_limit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features [n, F] as they would be with a limit RAISED times as high.

    Everything relative to the limit shrinks by that factor; times to the limit follow from the new distance.
    """
    changed = features.copy()
    scaled = ("ratio", "mean_", "std_", "min_", "max_", "slope_", "acceleration_", "change_", "ewma_gap", "day_diff",
              "week_diff", "season_diff", "season_rise_", "residual_slope_", "projected_", "robust_slope_", "drop_",
              "new_high", "ramp_slope", "ramp_rise")  # fmt: skip
    columns = [i for name, i in INDEX.items() if name.startswith(scaled)]
    changed[:, columns] /= RAISED
    changed[:, INDEX["distance"]] = 1 - changed[:, INDEX["ratio"]]
    changed[:, INDEX["failed_share_24h"]] = 0
    _follow_slopes(changed)
    return changed


def slow_down(features: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Features [n, F] as they would be if `share` of the rise were taken away: slopes, and what follows from them."""
    changed = features.copy()
    moving = ("slope_", "acceleration_", "change_", "ewma_gap", "residual_slope_", "season_rise_", "robust_slope_",
              "ramp_slope", "ramp_rise")  # fmt: skip
    columns = [i for name, i in INDEX.items() if name.startswith(moving)]
    changed[:, columns] *= 1.0 - share
    _follow_slopes(changed)
    return changed


def _follow_slopes(changed: NDArray[np.float64]) -> None:
    """Times to the limit from the distance and the slopes that stand in the rows, in place."""
    for window, slope in _SLOPES.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = 60 * np.maximum(changed[:, INDEX["distance"]], 0) / changed[:, INDEX[slope]]
        log_steps = np.where(
            changed[:, INDEX[slope]] > 1e-7, np.minimum(np.log1p(np.maximum(steps, 0)), _CEILING), _CEILING
        )
        changed[:, INDEX[f"log_steps_{window}"]] = log_steps


def forecast_of(
    subject: Subject, history: NDArray[np.float32], quantiles: NDArray[np.float64], step_seconds: float
) -> Forecast:
    """Data of the picture: the last day in medium cells, and straight ways to the limit at each quantile's time.

    history: float32 [cells] in medium cells; quantiles: float64 [3], steps.
    """
    there = np.flatnonzero(np.isfinite(history))
    begin = there[0] if len(there) else len(history)
    width = MEDIUM_STEPS * step_seconds
    seconds = (np.arange(begin, len(history)) - len(history)) * width
    future = np.linspace(0, 1.25 * quantiles[2], 26)
    gap = subject.limit - subject.value
    early, middle, late = (subject.value + gap * future / max(q, 1e-9) for q in quantiles)
    top = subject.limit + 0.25 * abs(gap)
    low, high = (late, early) if gap >= 0 else (early, late)
    return Forecast(
        history_seconds=[float(t) for t in seconds],
        history_values=[None if not np.isfinite(v) else float(v) for v in history[begin:]],
        future_seconds=[float(t) for t in future * step_seconds],
        p10=[float(v) for v in np.minimum(low, top)],
        p50=[float(v) for v in np.minimum(middle, top)],
        p90=[float(v) for v in np.minimum(high, top)],
    )

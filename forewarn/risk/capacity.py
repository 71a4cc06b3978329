"""Capacity forecasts: when each limited signal fills up within a week, from weeks of hourly maxima."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.capacity.contest import CapacityContest, MaximaForecaster, Standing
from forewarn.forecasting.capacity.direct import SHORTEST, DirectQuantiles
from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LOW, MEDIAN, FirstCrossing
from forewarn.forecasting.capacity.paths import daily_growth, without_growth
from forewarn.forecasting.capacity.signal_class import CLASSES
from forewarn.forecasting.neural import filled
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.narrative import RAISED
from forewarn.risk.records import Forecast
from forewarn.telemetry.samples import Series

Floats = NDArray[np.float64]

VERSION = "capacity-1"
LONGEST = 1344  # hours of history that are looked at: eight weeks
SHOWN_HOURS = 336  # of history in a picture
HOUR = 3600.0
_LENGTHS = (24, 36, 48, 72, 96, 120, 168, 240, 336, 504, 672, 1008, 1344)  # series of like length learn together
_RECENT = 6  # hours of which one must be there
_MOST_MISSING = 0.4
_NAMED = ((1, "1h"), (3, "3h"), (6, "6h"), (24, "24h"), (72, "3d"), (168, "7d"))


@dataclass(frozen=True, slots=True, eq=False)
class CapacityHistory:
    """One limited signal: hourly maxima [T] up to `made_at` (NaN where missing), its limit and its last value then.

    load [T]: what users asked of its entity in each hour, NaN where that is not known.
    """

    series: Series
    maxima: Floats
    limit: float
    value: float
    load: Floats


@dataclass(frozen=True, slots=True)
class CapacityForecast:
    """What is forecast of one signal at `made_at` (event time, the end of its last whole hour).

    within: probability that the limit is reached within `1h`, `3h`, `6h`, `24h`, `3d`, `7d`; never: not within 7 d.
    p10 … p90: quantiles of the seconds until then, None: beyond 7 d. given: the same of the cases within 7 d, as a
    risk tells them. raised: probability within 7 d and median seconds with the limit RAISED times as high. still: the
    probability within 7 d were the growth of a day taken away. coverage_80: share of what came within the 80 %
    interval of the highest value, at earlier times of signals of its class; None: not measured yet. fan: the history,
    and the quantiles of the highest value by then.
    """

    entity: str
    signal: str
    mode: str
    unit: str
    made_at: datetime
    value: float
    limit: float
    history_hours: int
    within: dict[str, float]
    never: float
    p10: float | None
    p50: float | None
    p90: float | None
    given: tuple[float | None, float | None, float | None]
    raised: tuple[float, float | None]
    growth_per_day: float
    still: float
    method: str
    signal_class: str
    coverage_80: float | None
    fan: Forecast = field(default_factory=Forecast)

    @property
    def probability(self) -> float:
        """Of reaching the limit within 7 d."""
        return self.within["7d"]


Others = Callable[[Sequence[CapacityHistory], int, datetime], Sequence[MaximaForecaster]]


@dataclass(frozen=True, slots=True)
class Capacities:
    """Forecasts of a namespace; why nothing is said of how many other signals; how the candidates stood."""

    forecasts: list[CapacityForecast]
    silent: dict[str, int]
    standings: list[Standing]


def forecast_capacities(
    histories: Iterable[CapacityHistory],
    made_at: datetime,
    direct: DirectQuantiles,
    others: Others | None = None,
) -> Capacities:
    """Forecast every signal that has enough history. Signals of like length compete and calibrate together.

    others: more candidates for such a group, given its histories, their hours, and `made_at`.
    """
    silent: dict[str, int] = {}
    groups: dict[int, list[CapacityHistory]] = {}
    for one in histories:
        reason = _silent(one)
        if reason:
            silent[reason] = silent.get(reason, 0) + 1
        else:
            groups.setdefault(_length(one), []).append(one)
    forecasts: list[CapacityForecast] = []
    standings: list[Standing] = []
    for length, group in sorted(groups.items()):
        past = filled(np.stack([one.maxima[-length:] for one in group]))
        contest = CapacityContest(direct, others(group, length, made_at) if others else ())
        contest.learn(past)
        standings += contest.standings
        forecasts += _forecasts(group, past, contest, made_at)
    return Capacities(forecasts, silent, standings)


def _silent(one: CapacityHistory) -> str:
    """Why nothing is said of a signal, '' where something can be."""
    known = np.isfinite(one.maxima)
    if not (np.isfinite(one.limit) and one.limit > 0):
        return "the limit is not a positive number"
    if not known[-_RECENT:].any():
        return f"no data in the last {_RECENT} hours"
    if _age(known) < SHORTEST:
        return f"less than {SHORTEST} hours of history"
    if 1 - known[-_length(one) :].mean() > _MOST_MISSING:
        return f"more than {_MOST_MISSING:.0%} of the history is missing"
    return ""


def _age(known: NDArray[np.bool_]) -> int:
    return len(known) - int(known.argmax()) if known.any() else 0


def _length(one: CapacityHistory) -> int:
    return max(n for n in _LENGTHS if n <= _age(np.isfinite(one.maxima)))


def _forecasts(
    group: Sequence[CapacityHistory], past: Floats, contest: CapacityContest, made_at: datetime
) -> list[CapacityForecast]:
    quantiles, still = contest.quantiles(past), contest.quantiles(without_growth(past))
    limit, value = (np.array([getattr(one, name) for one in group]) for name in ("limit", "value"))
    crossing = FirstCrossing.of(quantiles, limit, value)
    raised = FirstCrossing.of(quantiles, RAISED * limit, value)
    calm = FirstCrossing.of(still, limit, value)
    growth = daily_growth(past)
    times = {level: crossing.quantile(level) for level in (0.1, 0.5, 0.9)}
    given = {level: crossing.quantile(level, given=True) for level in (0.1, 0.5, 0.9)}
    raised_median = raised.quantile(0.5)
    return [
        CapacityForecast(
            entity=one.series.entity,
            signal=one.series.name,
            mode=failure_mode(one.series.signal).mode,
            unit=one.series.unit,
            made_at=made_at,
            value=float(one.value),
            limit=float(one.limit),
            history_hours=past.shape[1],
            within={name: float(crossing.within[i, HOURS.index(hours)]) for hours, name in _NAMED},
            never=float(crossing.never[i]),
            p10=_seconds(times[0.1][i]),
            p50=_seconds(times[0.5][i]),
            p90=_seconds(times[0.9][i]),
            given=(_seconds(given[0.1][i]), _seconds(given[0.5][i]), _seconds(given[0.9][i])),
            raised=(float(raised.within[i, -1]), _seconds(raised_median[i])),
            growth_per_day=float(growth[i]),
            still=float(calm.within[i, -1]),
            method=contest.method(i),
            signal_class=CLASSES[contest.signal_class[i]],
            coverage_80=contest.coverage(i),
            fan=_fan(one.maxima, quantiles[i]),
        )
        for i, one in enumerate(group)
    ]


def _seconds(hours: float) -> float | None:
    return float(hours) * HOUR if np.isfinite(hours) else None


def _fan(maxima: Floats, quantiles: Floats) -> Forecast:
    shown = maxima[-SHOWN_HOURS:]
    ahead = [(np.arange(len(shown)) - len(shown) + 0.5).tolist(), [0.0, *map(float, HOURS)]]
    start = float(filled(shown[None])[0, -1])
    p10, p50, p90 = ([start, *map(float, quantiles[:, place])] for place in (LOW, MEDIAN, HIGH))
    return Forecast(
        history_seconds=[t * HOUR for t in ahead[0]],
        history_values=[float(v) if np.isfinite(v) else None for v in shown],
        future_seconds=[t * HOUR for t in ahead[1]],
        p10=p10,
        p50=p50,
        p90=p90,
    )

"""Reads from PostgreSQL what rules are evaluated on, of one moment, with bounded cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from forewarn.alerting.rules.condition import Needs
from forewarn.alerting.rules.facts import STALE, Facts, Filling, OpenRisk, Reading, Window
from forewarn.risk.records import TimeToFailure
from forewarn.telemetry.limits import limit_names, limit_pairs
from forewarn.telemetry.samples import Kind, Series, namespace_of

MOST_SERIES = 20_000
_LIMIT_AGE = timedelta(hours=1)  # a limit may be told more rarely than its signal
_SERIES = """
select series_id, entity, signal, attributes, kind, unit from metric_series where signal = any(%s)
and (%s::text is null or entity = %s) order by entity, name limit %s
"""
_LATEST = """
select w.id, s.value, s.time from unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) w (id, since, until),
lateral (select value, time from metric_samples m where m.series_id = w.id and m.time > w.since and m.time <= w.until
         and value <> 'NaN' order by time desc limit 1) s
"""
_WINDOW = """
select id, avg(value), min(value), max(value), sum(greatest(value - before, 0)),
       extract(epoch from max(time) - min(time))::float
from (select w.id, m.time, m.value, lag(m.value) over (partition by w.id order by m.time) as before
      from unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) w (id, since, until)
      join metric_samples m on m.series_id = w.id and m.time > w.since and m.time <= w.until and m.value <> 'NaN') x
group by id
"""
_CLOCKS = "select namespace, at from watermarks"
_NEWEST = "select max(time) from metric_samples where series_id = any(%s) and time > %s"
_RISKS = """
select entity, signal, mode, predicted_at, extract(epoch from expires_at - predicted_at)::float, probability,
       p10_seconds, p50_seconds, p90_seconds, never from (
    select distinct on (r.episode) r.*, (r.payload #>> '{time_to_failure,never}')::float as never from risks r
    where r.expires_at > %s order by r.episode, r.revision desc limit 20000
) newest where state <> 'withdrawn' and not exists (select from outcomes o where o.risk_id = newest.risk_id)
"""
_FILLINGS = """
select entity, signal, mode, made_at, within, p10_seconds, p50_seconds, p90_seconds from capacity_forecasts
where probability_7d > 0.001 and value < limit_value order by probability_7d desc limit 20000
"""
_HORIZONS = {"1h": 3600.0, "3h": 10_800.0, "6h": 21_600.0, "24h": 86_400.0, "3d": 259_200.0, "7d": 604_800.0}


class TooManySeriesError(RuntimeError):
    """Rules name more series than are evaluated."""


@dataclass(frozen=True, slots=True)
class SeriesOfRules:
    """Series that rules name, by number, and the number of the series that tells the limit of each."""

    series: Mapping[int, Series]
    limits: Mapping[int, int]

    @property
    def entities(self) -> set[str]:
        """Entities that have one."""
        return {s.entity for s in self.series.values()}


def all_needs(needs: Iterable[Needs]) -> tuple[list[str], list[tuple[str, float]], bool]:
    """Signals, windows, and whether risks are asked for, of several conditions."""
    several = list(needs)
    signals = dict.fromkeys(s for n in several for s in n.signals)
    windows = dict.fromkeys(w for n in several for w in n.windows)
    return list(signals), list(windows), any(n.risks for n in several)


def series_of_rules(
    connection: psycopg.Connection[Any], signals: Sequence[str], entity: str | None = None
) -> SeriesOfRules:
    """Those of one entity, or of all. Raises TooManySeriesError beyond 20,000 of them, limits included."""
    wanted = sorted({*signals, *(name for signal in signals for name in limit_names(signal))})
    rows = connection.execute(_SERIES.encode(), (wanted, entity, entity, MOST_SERIES + 1)).fetchall() if wanted else []
    if len(rows) > MOST_SERIES:
        raise TooManySeriesError(f"the rules name signals of more than {MOST_SERIES:,} series: name fewer signals")
    known = {
        number: Series(entity, signal, tuple(sorted(attributes.items())), Kind[kind.upper()], unit)
        for number, entity, signal, attributes, kind, unit in rows
    }
    numbers = list(known)
    pairs = limit_pairs([known[n] for n in numbers])
    return SeriesOfRules(known, {numbers[own]: numbers[limit] for own, limit in pairs.items()})


def read_facts(
    connection: psycopg.Connection[Any],
    found: SeriesOfRules,
    needs: Iterable[Needs],
    now: datetime | None = None,
) -> Facts:
    """What conditions with these needs are evaluated on now. now: wall clock. Raises psycopg.Error."""
    signals, windows, risks = all_needs(needs)
    now = now or datetime.now(UTC)
    clocks = _clocks(connection, found, now)
    latest = _latest(connection, found, clocks)
    own = [n for n, s in found.series.items() if s.signal in signals]
    stats = {seconds: _windows(connection, found, clocks, [s for s, w in windows if w == seconds], seconds)
             for seconds in dict.fromkeys(w for _, w in windows)}  # fmt: skip
    readings: dict[str, dict[str, list[Reading]]] = {}
    for number in own:
        s, (value, at) = found.series[number], latest.get(number, (None, None))
        limit = latest.get(found.limits.get(number, -1), (None, None))[0]
        own_windows = {w: rows[number] for w, rows in stats.items() if number in rows}
        reading = Reading(s.signal, s.attributes, s.unit, value, at, limit, own_windows)
        readings.setdefault(s.entity, {}).setdefault(s.signal, []).append(reading)
    if not risks:
        return Facts(clocks, readings)
    since = min(clocks.values(), default=now)
    return Facts(clocks, readings, _risks(connection, since, clocks), _fillings(connection))


def _clocks(connection: psycopg.Connection[Any], found: SeriesOfRules, now: datetime) -> dict[str, datetime]:
    """Event clocks; of a namespace that was never scored the time of its newest sample of the last hour."""
    clocks: dict[str, datetime] = dict(connection.execute(_CLOCKS.encode()).fetchall())
    silent: dict[str, list[int]] = {}
    for number, series in found.series.items():
        namespace = namespace_of(series.entity)
        if namespace not in clocks:
            silent.setdefault(namespace, []).append(number)
    for namespace, numbers in silent.items():
        row = connection.execute(_NEWEST.encode(), (numbers, now - timedelta(hours=1))).fetchone()
        if row is not None and row[0] is not None:
            clocks[namespace] = row[0]
    return clocks


def _latest(
    connection: psycopg.Connection[Any], found: SeriesOfRules, clocks: Mapping[str, datetime]
) -> dict[int, tuple[float, datetime]]:
    limits = set(found.limits.values())
    timed = [(n, clocks[namespace_of(s.entity)], n in limits) for n, s in found.series.items()
             if namespace_of(s.entity) in clocks]  # fmt: skip
    if not timed:
        return {}
    since = [at - (_LIMIT_AGE if limit else STALE) for _, at, limit in timed]
    rows = connection.execute(_LATEST.encode(), ([n for n, _, _ in timed], since, [at for _, at, _ in timed]))
    return {number: (value, at) for number, value, at in rows}


def _windows(
    connection: psycopg.Connection[Any], found: SeriesOfRules, clocks: Mapping[str, datetime],
    signals: Sequence[str], seconds: float,
) -> dict[int, Window]:  # fmt: skip
    timed = [(n, clocks[namespace_of(s.entity)]) for n, s in found.series.items()
             if s.signal in signals and namespace_of(s.entity) in clocks]  # fmt: skip
    if not timed:
        return {}
    span = timedelta(seconds=seconds)
    values = ([n for n, _ in timed], [at - span for _, at in timed], [at for _, at in timed])
    return {
        number: Window(mean, low, high, grown / length if grown is not None and length else None)
        for number, mean, low, high, grown, length in connection.execute(_WINDOW.encode(), values)
    }


def _risks(
    connection: psycopg.Connection[Any], since: datetime, clocks: Mapping[str, datetime]
) -> dict[str, list[OpenRisk]]:
    found: dict[str, list[OpenRisk]] = {}
    for row in connection.execute(_RISKS.encode(), (since,)):
        entity, signal, mode, predicted_at, horizon, probability, p10, p50, p90, never = row
        clock = clocks.get(namespace_of(entity))
        if clock is not None and clock < predicted_at + timedelta(seconds=horizon):
            ttf = TimeToFailure(p10, p50, p90, never if never is not None else 1.0 - probability)
            found.setdefault(entity, []).append(OpenRisk(signal, mode, predicted_at, horizon, probability, ttf))
    return found


def _fillings(connection: psycopg.Connection[Any]) -> dict[str, list[Filling]]:
    found: dict[str, list[Filling]] = {}
    for entity, signal, mode, made_at, within, p10, p50, p90 in connection.execute(_FILLINGS.encode()):
        known = tuple(sorted((_HORIZONS[name], float(p)) for name, p in within.items() if name in _HORIZONS))
        quantiles = {"p10": p10, "p50": p50, "p90": p90}
        found.setdefault(entity, []).append(Filling(signal, mode, made_at, known, quantiles))
    return found

"""Tries rules on history: roll-ups of 5 minutes and the ledger of predictions, step by step as it was known then."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from forewarn.alerting.rules.facts import Facts, OpenRisk, Reading, Window
from forewarn.alerting.rules.firing import Key, Standing, step, subjects
from forewarn.alerting.rules.rule import Rule
from forewarn.risk.quantities import format_duration
from forewarn.risk.records import TimeToFailure
from forewarn.stores.rule_facts import SeriesOfRules, series_of_rules
from forewarn.telemetry.samples import namespace_of

CELL = timedelta(minutes=5)
NEAR = timedelta(days=1)  # a failure within this after a firing was foretold by it
_LIMIT_CELLS = 12  # a limit may be told more rarely than its signal
_COLUMNS = ("min", "max", "mean", "last")
_CELLS = """
select series_id, (extract(epoch from time - %(start)s) / 300)::int, min, max, mean, last from metric_rollups_5m
where series_id = any(%(ids)s) and time >= %(start)s and time < %(stop)s
"""
_END = """
select greatest((select max(at) from watermarks), (select max(time) + interval '5 min' from metric_rollups_5m))
"""
_RISKS = """
select entity, risks.episode::text, signal, mode, predicted_at, expires_at, state, probability, p10_seconds,
       p50_seconds, p90_seconds, (payload #>> '{time_to_failure,never}')::float, o.resolved_at
from risks left join outcomes o using (risk_id) where expires_at > %s and predicted_at < %s
order by risks.episode, revision limit 200000
"""
_FAILURES = """
select entity, signal, mode, failed_at, recovered_at from failures
where failed_at < %s and coalesce(recovered_at, failed_at) > %s order by failed_at
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PastFiring:
    """beside: what failed near it, in words."""

    about: str
    fired_at: datetime
    ended_at: datetime | None
    beside: str


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """What a rule would have done. failures: of the entities it is about; foretold: those it fired before or during.

    unknown: an example of what could not be judged; unknown_share: of all looks.
    """

    rule: str
    start: datetime | None
    stop: datetime | None
    subjects: int = 0
    firings: list[PastFiring] = field(default_factory=list)
    failures: int = 0
    foretold: int = 0
    unknown: str = ""
    unknown_share: float = 0.0


@dataclass(frozen=True, slots=True)
class _Said:
    """A revision of a prediction and how long it was the newest."""

    entity: str
    risk: OpenRisk
    until: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    entity: str
    signal: str
    mode: str
    failed_at: datetime
    recovered_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Past:
    """cells: [4, series, cells] of min, max, mean and last, NaN where nothing is."""

    start: datetime
    stop: datetime
    series: SeriesOfRules
    place: Mapping[int, int]
    cells: Floats
    said: Sequence[_Said]
    failures: Sequence[_Failure]


def try_rules(
    connection: psycopg.Connection[Any],
    rules: Sequence[Rule],
    labels: Callable[[str], Mapping[str, str]],
    since: timedelta,
) -> list[RuleTrial]:
    """What each rule would have done in so long before the newest telemetry. Raises TooManySeriesError."""
    row = connection.execute(_END.encode()).fetchone()
    if row is None or row[0] is None:
        return [RuleTrial(rule.name, None, None) for rule in rules]
    stop = datetime.fromtimestamp(row[0].timestamp() // 300 * 300, UTC)
    known: dict[str, Mapping[str, str]] = {}

    def of(entity: str) -> Mapping[str, str]:
        return known.setdefault(entity, labels(entity))

    return [_try(rule, _read(connection, rule, stop - since, stop), of) for rule in rules]


def _read(connection: psycopg.Connection[Any], rule: Rule, start: datetime, stop: datetime) -> _Past:
    needs = rule.condition.needs
    series = series_of_rules(connection, needs.signals)
    place = {number: i for i, number in enumerate(series.series)}
    cells = np.full((len(_COLUMNS), len(place), (stop - start) // CELL), np.nan)
    values = {"ids": list(place), "start": start, "stop": stop}
    rows = connection.execute(_CELLS.encode(), values).fetchall() if place else []
    if rows:
        number, cell, *found = (np.array(column) for column in zip(*rows, strict=True))
        cells[:, np.array([place[n] for n in number.tolist()]), cell] = found
    said = list(_said(connection, start, stop)) if needs.risks else []
    failures = [_Failure(*row) for row in connection.execute(_FAILURES.encode(), (stop, start))]
    return _Past(start, stop, series, place, cells, said, failures)


def _said(connection: psycopg.Connection[Any], start: datetime, stop: datetime) -> Iterator[_Said]:
    rows = connection.execute(_RISKS.encode(), (start, stop)).fetchall()
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        entity, episode, signal, mode, at, expires, state, probability, p10, p50, p90, never, resolved = row
        if state == "withdrawn":
            continue
        ends = [expires, *([resolved] if resolved else []), *([after[4]] if after and after[1] == episode else [])]
        ttf = TimeToFailure(p10, p50, p90, never if never is not None else 1.0 - probability)
        yield _Said(entity, OpenRisk(signal, mode, at, (expires - at).total_seconds(), probability, ttf), min(ends))


def _try(rule: Rule, past: _Past, labels: Callable[[str], Mapping[str, str]]) -> RuleTrial:
    standing: dict[Key, Standing] = {}
    open_at: dict[Key, datetime] = {}
    firings: list[tuple[Key, datetime, datetime | None]] = []
    looks, unknown, example, seen = 0, 0, "", set[Key]()
    for number in range(past.cells.shape[2]):
        at = past.start + (number + 1) * CELL
        facts = _facts(rule, past, number, at)
        judged = set[Key]()
        for subject in subjects(rule, facts, labels):
            key = Key(rule.name, subject.entity, subject.series_name)
            verdict = rule.condition.verdict(subject)
            judged.add(key)
            looks += 1
            if verdict.holds is None:
                unknown, example = unknown + 1, verdict.why
            taken = step(rule, key, standing.get(key), verdict, at)
            _remember(standing, key, taken.standing)
            if taken.event == "fire":
                open_at[key] = at
            elif taken.event == "resolve":
                firings.append((key, open_at.pop(key), at))
        for key in set(standing) - judged:
            del standing[key]
            if key in open_at:
                firings.append((key, open_at.pop(key), at))
        seen |= judged
    firings += [(key, at, None) for key, at in open_at.items()]
    entities = {key.entity for key in seen} | past.series.entities
    failures = [f for f in past.failures if f.entity in entities and f.failed_at >= past.start]
    foretold = sum(any(_near(f, key, at, end) for key, at, end in firings) for f in failures)
    shown = [_shown(key, at, end, past.failures) for key, at, end in sorted(firings, key=lambda f: f[1])]
    share = unknown / looks if looks else 0.0
    return RuleTrial(rule.name, past.start, past.stop, len(seen), shown, len(failures), foretold, example, share)


def _remember(standing: dict[Key, Standing], key: Key, now: Standing | None) -> None:
    if now is None:
        standing.pop(key, None)
    else:
        standing[key] = now


def _facts(rule: Rule, past: _Past, number: int, at: datetime) -> Facts:
    """What was known at the end of a cell."""
    needs, readings = rule.condition.needs, dict[str, dict[str, list[Reading]]]()
    windows = dict.fromkeys(seconds for _, seconds in needs.windows)
    for series_id, i in past.place.items():
        series = past.series.series[series_id]
        if series.signal not in needs.signals or not np.isfinite(past.cells[:, i, : number + 1]).any():
            continue
        last = float(past.cells[3, i, number])
        known = last if np.isfinite(last) else None
        reading = Reading(
            series.signal, series.attributes, series.unit, known, at if known is not None else None,
            _limit(past, series_id, number),
            {seconds: w for seconds in windows if (w := _window(past, i, number, seconds)) is not None},
        )  # fmt: skip
        readings.setdefault(series.entity, {}).setdefault(series.signal, []).append(reading)
    risks: dict[str, list[OpenRisk]] = {}
    for one in past.said:
        if one.risk.predicted_at <= at < one.until:
            risks.setdefault(one.entity, []).append(one.risk)
    clocks = {namespace_of(entity): at for entity in (*readings, *risks)}
    return Facts(clocks, readings, risks)


def _limit(past: _Past, series_id: int, number: int) -> float | None:
    limit = past.series.limits.get(series_id)
    if limit is None:
        return None
    told = past.cells[3, past.place[limit], max(number + 1 - _LIMIT_CELLS, 0) : number + 1]
    known = told[np.isfinite(told)]
    return float(known[-1]) if len(known) else None


def _window(past: _Past, i: int, number: int, seconds: float) -> Window | None:
    """Of the cells that it covers, one at least."""
    cells = past.cells[:, i, max(number + 1 - max(round(seconds / 300), 1), 0) : number + 1]
    low, high, mean, last = cells[:, np.isfinite(cells[3])]
    if not len(last):
        return None
    before = (
        past.cells[3, i, number - len(cells[3]) : number - len(cells[3]) + 1] if number >= len(cells[3]) else last[:0]
    )
    points = np.concatenate([before[np.isfinite(before)], last])
    steps = np.diff(points)
    rate = float(np.maximum(steps, 0.0).sum() / (300.0 * len(steps))) if len(steps) else None
    return Window(float(mean.mean()), float(low.min()), float(high.max()), rate)


def _near(failure: _Failure, key: Key, fired_at: datetime, ended_at: datetime | None) -> bool:
    """The firing began within a day before the failure, or while it lasted."""
    if failure.entity != key.entity:
        return False
    over = failure.recovered_at or failure.failed_at
    return failure.failed_at - NEAR <= fired_at <= over


def _shown(key: Key, fired_at: datetime, ended_at: datetime | None, failures: Sequence[_Failure]) -> PastFiring:
    near = [f for f in failures if _near(f, key, fired_at, ended_at)]
    words = [_beside(f, fired_at) for f in near[:3]] + ([f"{len(near) - 3} more"] if len(near) > 3 else [])
    about = f"{key.entity} {key.series}".strip()
    return PastFiring(about, fired_at, ended_at, "; ".join(words) or "nothing failed there within a day")


def _beside(failure: _Failure, fired_at: datetime) -> str:
    lead = (failure.failed_at - fired_at).total_seconds()
    when = f"failed {format_duration(lead)} later" if lead > 0 else f"had failed {format_duration(-lead)} before"
    return f"{failure.signal} ({failure.mode}) {when}"

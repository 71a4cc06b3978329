"""Capacity forecasts in PostgreSQL: hourly maxima from the roll-ups in, forecasts and what was told of them out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray

from forewarn.features.context import context_of
from forewarn.risk.capacity import LONGEST, CapacityForecast, CapacityHistory
from forewarn.risk.capacity_telling import Telling
from forewarn.risk.past import Key
from forewarn.stores.metric_series import stored_series
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.samples import Kind

Floats = NDArray[np.float64]
_HOUR = timedelta(hours=1)

_CLOCK = "select at from watermarks where namespace = %s"
_NEWEST = "select max(time) + interval '1 hour' from metric_rollups_1h where series_id = any(%s)"
_CELLS = """
select series_id, (extract(epoch from time - %(start)s) / 3600)::int, max, last, mean, count from metric_rollups_1h
where series_id = any(%(ids)s) and time >= %(start)s and time < %(stop)s order by time
"""
_UPSERT = """
insert into capacity_forecasts (entity, signal, mode, made_at, value, limit_value, unit, history_hours, within, never,
    p10_seconds, p50_seconds, p90_seconds, method, class, coverage_80, probability_7d, payload, telling)
values (%(entity)s, %(signal)s, %(mode)s, %(made_at)s, %(value)s, %(limit)s, %(unit)s, %(history_hours)s, %(within)s,
    %(never)s, %(p10)s, %(p50)s, %(p90)s, %(method)s, %(signal_class)s, %(coverage_80)s, %(probability)s, %(payload)s,
    %(telling)s)
on conflict (entity, signal) do update set mode = excluded.mode, made_at = excluded.made_at, value = excluded.value,
    limit_value = excluded.limit_value, unit = excluded.unit, history_hours = excluded.history_hours,
    within = excluded.within, never = excluded.never, p10_seconds = excluded.p10_seconds,
    p50_seconds = excluded.p50_seconds, p90_seconds = excluded.p90_seconds, method = excluded.method,
    class = excluded.class, coverage_80 = excluded.coverage_80, probability_7d = excluded.probability_7d,
    payload = excluded.payload, telling = excluded.telling, recorded_at = now()
"""
_OF_NAMESPACE = "coalesce(substring(entity from '^([^/]*)/'), '') = %(namespace)s"
_FORGET = f"delete from capacity_forecasts where {_OF_NAMESPACE} and made_at < %(made_at)s"  # noqa: S608 (constant)
_TELLINGS = f"select entity, signal, telling from capacity_forecasts where {_OF_NAMESPACE}"  # noqa: S608 (constant)
_ELSEWHERE = f"""
select entity, signal from (
    select distinct on (r.episode) r.entity, r.signal, r.state, r.expires_at, r.risk_id from risks r
    where {_OF_NAMESPACE} and not starts_with(r.model_version, 'capacity-') and r.expires_at > %(made_at)s
    order by r.episode, r.revision desc
) newest where state <> 'withdrawn' and not exists (select from outcomes o where o.risk_id = newest.risk_id)
union select entity, signal from failures where {_OF_NAMESPACE} and recovered_at is null
"""  # noqa: S608 (constant)
_ENDED = """
select distinct on (r.episode) r.episode::text, o.outcome from risks r join outcomes o using (risk_id)
where r.episode = any(%s::uuid[]) order by r.episode, r.revision desc
"""
_NAMESPACES = "select distinct coalesce(substring(entity from '^([^/]*)/'), '') from metric_series order by 1"


def namespaces(connection: psycopg.Connection[Any]) -> list[str]:
    """Namespaces of which the archive holds metrics."""
    return [name for (name,) in connection.execute(_NAMESPACES).fetchall()]


def read_histories(
    connection: psycopg.Connection[Any], namespace: str
) -> tuple[list[CapacityHistory], datetime | None]:
    """Hourly maxima of every gauge with a limit, and the end of the last whole hour of the event clock.

    None where the archive holds no roll-ups of such signals yet. Raises psycopg.Error.
    """
    known = stored_series(connection, namespace)
    ids = list(known)
    series = [known[number] for number in ids]
    context = context_of(series)
    pairs = {own: limit for own, limit in limit_pairs(series).items() if series[own].kind == Kind.GAUGE}
    loads = {own: i for own in pairs if (i := int(context.load[own])) >= 0}
    wanted = sorted({ids[i] for pair in pairs.items() for i in pair} | {ids[i] for i in loads.values()})
    end = _end(connection, namespace, [ids[own] for own in pairs])
    if end is None:
        return [], None
    cells = _cells(connection, wanted, end)
    place = {number: i for i, number in enumerate(wanted)}
    newest = _newest(cells.last)
    unknown = np.full(LONGEST, np.nan)
    return [
        CapacityHistory(
            series[own],
            cells.max[place[ids[own]]],
            newest[place[ids[limit]]],
            newest[place[ids[own]]],
            _load(cells, place[ids[loads[own]]], series[loads[own]].kind) if own in loads else unknown,
        )
        for own, limit in pairs.items()
    ], end


class _Cells(NamedTuple):
    """Hourly roll-ups [series, LONGEST], NaN where there are none."""

    max: Floats
    last: Floats
    mean: Floats
    counts: Floats


def _cells(connection: psycopg.Connection[Any], ids: Sequence[int], end: datetime) -> _Cells:
    values = {"ids": ids, "start": end - LONGEST * _HOUR, "stop": end}
    rows = connection.execute(_CELLS, values).fetchall()
    cells = np.full((4, len(ids), LONGEST), np.nan)
    if rows:
        number, cell, *found = (np.array(column) for column in zip(*rows, strict=True))
        place = {n: i for i, n in enumerate(ids)}
        cells[:, np.array([place[n] for n in number.tolist()]), cell] = found
    return _Cells(*cells)


def _load(cells: _Cells, row: int, kind: Kind) -> Floats:
    """[LONGEST] requests of each hour in a unit of their own: a level, or what a counter grew by."""
    if kind == Kind.GAUGE:
        return np.asarray(cells.mean[row])
    if kind == Kind.DELTA:
        return np.asarray(cells.mean[row] * cells.counts[row])
    grown = np.diff(cells.last[row], prepend=np.nan)
    return np.where(grown >= 0, grown, np.nan)


def _end(connection: psycopg.Connection[Any], namespace: str, ids: Sequence[int]) -> datetime | None:
    """The last whole hour before the event clock; before the newest roll-up where nothing was scored yet."""
    newest = connection.execute(_NEWEST, (ids,)).fetchone() if ids else None
    if newest is None or newest[0] is None:
        return None
    clock = connection.execute(_CLOCK, (namespace,)).fetchone()
    end: datetime = max(clock[0], newest[0] - _HOUR) if clock else newest[0]
    return end.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _newest(cells: Floats) -> list[float]:
    """The last known value of each row, NaN where there is none."""
    known = np.isfinite(cells)
    column = cells.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    return [float(v) for v in cells[np.arange(len(cells)), column]]


def read_tellings(connection: psycopg.Connection[Any], namespace: str) -> dict[Key, Telling]:
    """What was told of each signal so far."""
    rows = connection.execute(_TELLINGS.encode(), {"namespace": namespace}).fetchall()
    return {(entity, signal): msgspec.convert(telling, Telling) for entity, signal, telling in rows if telling}


def told_elsewhere(connection: psycopg.Connection[Any], namespace: str, made_at: datetime) -> set[Key]:
    """Signals that fail now, or about which the minute path has an open risk."""
    return set(connection.execute(_ELSEWHERE.encode(), {"namespace": namespace, "made_at": made_at}).fetchall())


def endings(connection: psycopg.Connection[Any], episodes: Sequence[str]) -> dict[str, str]:
    """Outcome of the newest resolved risk of each of these episodes; those without one are left out."""
    return dict(connection.execute(_ENDED, (list(episodes),)).fetchall())


def write_forecasts(
    connection: psycopg.Connection[Any],
    namespace: str,
    made_at: datetime,
    forecasts: Sequence[CapacityForecast],
    tellings: Mapping[Key, Telling],
) -> None:
    """Replace the forecasts of a namespace, in the caller's transaction; signals that are gone are forgotten."""
    rows = [_row(one, tellings[(one.entity, one.signal)]) for one in forecasts]
    if rows:
        connection.cursor().executemany(_UPSERT, rows)
    connection.execute(_FORGET.encode(), {"namespace": namespace, "made_at": made_at})


def _row(one: CapacityForecast, telling: Telling) -> dict[str, Any]:
    columns = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return columns | {
        "within": msgspec.json.encode(one.within).decode(),
        "probability": one.probability,
        "payload": msgspec.json.encode(one).decode(),
        "telling": msgspec.json.encode(_plain(telling)).decode(),
    }


def _plain(telling: Telling) -> dict[str, Any]:
    """Without what is infinite, which JSON has no word for and which is the default."""
    plain: dict[str, Any] = msgspec.to_builtins(telling)
    plain["episode"] = {k: v for k, v in plain["episode"].items() if v is not None and np.isfinite(v)}
    return plain

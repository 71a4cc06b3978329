"""The health of the data itself: processes and their counters, series by entity, what stopped arriving, decisions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.stores.views.models import Decision
from forewarn.stores.views.now import Clock, rows


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A running process as it reports itself; `age_seconds` is wall-clock time since its last report."""

    service: str
    instance: str
    pid: int
    started_at: datetime
    seen_at: datetime
    age_seconds: float
    counters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EntitySeries:
    """How many series an entity has."""

    entity: str
    series: int
    signals: int
    abstaining: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A series that sent within the last hour of its namespace's clock, and then stopped."""

    entity: str
    name: str
    last_sample: datetime
    behind_seconds: float


@dataclass(frozen=True, slots=True)
class Abstention:
    """Why nothing is said about a signal."""

    entity: str
    signal: str
    reason: str
    at: datetime
    code: str  # 'no_data', 'regime_change' …; '' where it was told before there were codes


@dataclass(frozen=True, slots=True)
class DataView:
    """Everything the data page shows."""

    clocks: tuple[Clock, ...]
    services: tuple[ServiceStatus, ...]
    entities: tuple[EntitySeries, ...]  # most series first, at most 200
    series_total: int
    entities_total: int
    gaps: tuple[Gap, ...]  # longest first, at most 100
    abstentions: tuple[Abstention, ...]  # newest first, at most 100
    decisions: tuple[Decision, ...]  # newest first, at most 40


def data_view(connection: psycopg.Connection[Any], quiet_after: timedelta = timedelta(minutes=5)) -> DataView:
    """The data page. `quiet_after` is event time: a series that is so far behind its clock has a gap."""
    total = connection.execute(b"select count(*)::int, count(distinct entity)::int from metric_series").fetchone()
    series_total, entities_total = total or (0, 0)
    return DataView(
        clocks=tuple(rows(connection, Clock, "select namespace, at from watermarks order by namespace")),
        services=tuple(rows(connection, ServiceStatus, _SERVICES)),
        entities=tuple(rows(connection, EntitySeries, _ENTITIES)),
        series_total=series_total,
        entities_total=entities_total,
        gaps=tuple(rows(connection, Gap, _GAPS, {"quiet": quiet_after})),
        abstentions=tuple(rows(connection, Abstention, _ABSTENTIONS)),
        decisions=tuple(rows(connection, Decision, _DECISIONS)),
    )


_SERVICES = """
select service, instance, pid, started_at, seen_at,
       extract(epoch from now() - seen_at)::float8 as age_seconds, counters
from service_status s where seen_at > now() - interval '1 day' and not exists (
    select from service_status newer where newer.service = s.service and newer.started_at > s.started_at
    and s.seen_at < now() - interval '15 seconds')
order by service, instance
"""

_ENTITIES = """
select s.entity, s.series, s.signals, coalesce(a.abstaining, 0) as abstaining from (
    select entity, count(*)::int as series, count(distinct signal)::int as signals
    from metric_series group by entity order by count(*) desc, entity limit 200
) s left join (
    select entity, count(*)::int as abstaining from abstentions where reason <> '' group by entity
) a using (entity)
order by s.series desc, s.entity
"""

_GAPS = """
with newest as (
    select s.series_id, max(s.time) as last_sample from metric_samples s
    where s.time > (select min(at) from watermarks) - interval '1 hour' group by s.series_id
)
select m.entity, m.name, n.last_sample, extract(epoch from w.at - n.last_sample)::float8 as behind_seconds
from newest n join metric_series m using (series_id)
join watermarks w on w.namespace = coalesce(substring(m.entity from '^([^/]*)/'), '')
where n.last_sample between w.at - interval '1 hour' and w.at - %(quiet)s
order by behind_seconds desc, m.entity, m.name limit 100
"""

_ABSTENTIONS = """
select entity, signal, reason, at, code from abstentions where reason <> '' order by at desc, entity, signal limit 100
"""

_DECISIONS = "select at, actor, action, subject, reason from audit order by at desc, audit_id desc limit 40"

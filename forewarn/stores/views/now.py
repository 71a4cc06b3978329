"""The state of everything at this moment: open incidents, the service graph, what changed, what is silent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row

from forewarn.stores.views.capacity import Filling, filling
from forewarn.telemetry.samples import namespace_of

Row = TypeVar("Row")
STATES = ("calm", "silent", "watch", "warning", "critical", "failing")  # of a node, worst last
CHANGES_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Clock:
    """Event clock of a namespace."""

    namespace: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that is not over, with the newest prediction of its cause. Quantiles are seconds after
    `predicted_at`; `clock` is the event time of its namespace now."""

    incident_id: str
    state: str
    severity: str
    title: str
    entity: str
    signal: str
    mode: str
    opened_at: datetime
    updated_at: datetime
    failed_at: datetime | None
    affected: int  # episodes that belong to it
    predicted_at: datetime | None
    probability: float | None
    p10_seconds: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    clock: datetime | None

    def left(self, quantile: float | None) -> float | None:
        """Seconds from the event clock until a quantile of the failure time; 0 where it has passed."""
        if quantile is None or self.predicted_at is None:
            return None
        now = self.clock or self.predicted_at
        return max(0.0, quantile - (now - self.predicted_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Edge:
    """Who calls whom."""

    client: str
    server: str
    calls: int
    errors: int


@dataclass(frozen=True, slots=True)
class Node:
    """An entity on the map and its worst open risk."""

    entity: str
    state: str  # of STATES
    detail: str
    incident_id: str | None
    silent_signals: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened: kind is 'deploy', 'failure', 'recovery', 'incident' or 'anomaly'."""

    at: datetime
    kind: str
    entity: str
    text: str
    incident_id: str | None


@dataclass(frozen=True, slots=True)
class Silence:
    """Why nothing is said about so many signals."""

    reason: str
    signals: int
    entities: int
    examples: list[str]
    latest: datetime


@dataclass(frozen=True, slots=True)
class NowView:
    """Everything the first page shows."""

    clocks: tuple[Clock, ...]
    incidents: tuple[OpenIncident, ...]  # firing first, then by time left
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    changes: tuple[Change, ...]  # newest first
    silences: tuple[Silence, ...]
    filling: tuple[Filling, ...] = ()  # within 7 d, soonest first


def rows(connection: psycopg.Connection[Any], kind: type[Row], query: str, parameters: Any = None) -> list[Row]:
    """All rows of a query as records of a dataclass; columns are named as its fields."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def now_view(connection: psycopg.Connection[Any], change_window: timedelta = timedelta(hours=1)) -> NowView:
    """The first page. `change_window` is event time before each namespace's clock."""
    incidents = tuple(sorted(rows(connection, OpenIncident, _INCIDENTS), key=_urgency))
    edges = tuple(rows(connection, Edge, _EDGES))
    return NowView(
        clocks=tuple(rows(connection, Clock, "select namespace, at from watermarks order by namespace")),
        incidents=incidents,
        nodes=_nodes(connection, incidents, edges),
        edges=edges,
        changes=tuple(rows(connection, Change, _CHANGES, {"window": change_window, "shown": CHANGES_SHOWN})),
        silences=tuple(rows(connection, Silence, _SILENCES)),
        filling=tuple(filling(connection)),
    )


def _urgency(incident: OpenIncident) -> tuple[int, float, str]:
    left = incident.left(incident.p50_seconds)
    return (incident.state != "firing", float("inf") if left is None else left, incident.incident_id)


@dataclass(frozen=True, slots=True)
class _Entity:
    entity: str
    failing: str | None  # signal that is at its limit now
    watched: str | None  # signal with an open risk that belongs to no incident
    silent_signals: int


def _nodes(
    connection: psycopg.Connection[Any], incidents: tuple[OpenIncident, ...], edges: tuple[Edge, ...]
) -> tuple[Node, ...]:
    known = {e.entity: e for e in rows(connection, _Entity, _ENTITIES)}
    for name in {n for e in edges for n in (e.client, e.server)} | {i.entity for i in incidents}:
        known.setdefault(name, _Entity(name, None, None, 0))
    worst: dict[str, OpenIncident] = {}
    for incident in incidents:
        held = worst.get(incident.entity)
        if held is None or STATES.index(_incident_state(incident)) > STATES.index(_incident_state(held)):
            worst[incident.entity] = incident
    ordered = sorted(known.values(), key=lambda e: (namespace_of(e.entity), e.entity))
    return tuple(_node(entity, worst.get(entity.entity)) for entity in ordered)


def _incident_state(incident: OpenIncident) -> str:
    if incident.state == "firing":
        return "failing"
    return incident.severity if incident.severity in STATES else "watch"


def _node(entity: _Entity, incident: OpenIncident | None) -> Node:
    incident_id = incident.incident_id if incident else None
    if entity.failing is not None:
        return Node(entity.entity, "failing", entity.failing, incident_id, entity.silent_signals)
    if incident is not None:
        return Node(entity.entity, _incident_state(incident), incident.signal, incident_id, entity.silent_signals)
    if entity.watched is not None:
        return Node(entity.entity, "watch", entity.watched, None, entity.silent_signals)
    return Node(entity.entity, "calm", "", None, entity.silent_signals)


_INCIDENTS = """
select i.incident_id::text, i.state, i.severity, i.title, i.entity, coalesce(i.payload->>'signal', '') as signal,
       i.mode, i.opened_at, i.updated_at, i.failed_at, jsonb_array_length(i.payload->'episodes') as affected,
       r.predicted_at, r.probability, r.p10_seconds, r.p50_seconds, r.p90_seconds, w.at as clock
from incidents i
left join lateral (
    select * from risks where episode = (i.payload->'episodes'->>0)::uuid order by revision desc limit 1
) r on true
left join watermarks w on w.namespace = coalesce(substring(i.entity from '^([^/]*)/'), '')
where i.state in ('predicted', 'firing')
"""

_EDGES = "select client, server, calls, errors from service_edges order by client, server"

# Distinct entities by a loose index scan: one index probe an entity, however many series there are.
_ENTITIES = """
with recursive series_entities as (
    (select entity from metric_series order by entity limit 1)
    union all
    select (select m.entity from metric_series m where m.entity > s.entity order by m.entity limit 1)
    from series_entities s where s.entity is not null
), failing as (
    select entity, min(signal) as signal from failures where recovered_at is null group by entity
), newest as (
    select distinct on (r.episode) r.episode, r.entity, r.signal, r.state, r.expires_at, r.risk_id
    from risks r where r.expires_at > (select min(at) from watermarks) order by r.episode, r.revision desc
), watched as (
    select n.entity, min(n.signal) as signal from newest n
    join watermarks w on w.namespace = coalesce(substring(n.entity from '^([^/]*)/'), '') and n.expires_at > w.at
    where n.state <> 'withdrawn' and not exists (select from outcomes o where o.risk_id = n.risk_id)
    group by n.entity
), silent as (
    select entity, count(*)::int as signals from abstentions where reason <> '' group by entity
), names as (
    select entity from series_entities where entity is not null
    union select entity from failing union select entity from watched union select entity from silent
)
select n.entity, f.signal as failing, w.signal as watched, coalesce(s.signals, 0) as silent_signals
from names n left join failing f using (entity) left join watched w using (entity) left join silent s using (entity)
"""

_CHANGES = """
select c.* from watermarks w cross join lateral (
    select time as at, 'deploy' as kind, entity, body as text, null as incident_id from log_records
    where attributes->>'event.name' = 'deployment' and time between w.at - %(window)s and w.at
    union all
    select failed_at, 'failure', entity, signal, null from failures where failed_at between w.at - %(window)s and w.at
    union all
    select recovered_at, 'recovery', entity, signal, null from failures
    where recovered_at between w.at - %(window)s and w.at
    union all
    select opened_at, 'incident', entity, title, incident_id::text from incidents
    where opened_at between w.at - %(window)s and w.at
    union all
    select since, 'anomaly', entity, text, null from anomalies where since between w.at - %(window)s and w.at
) c
where coalesce(substring(c.entity from '^([^/]*)/'), '') = w.namespace
order by c.at desc, c.entity limit %(shown)s
"""

_SILENCES = """
select reason, count(*)::int as signals, count(distinct entity)::int as entities,
       (array_agg(entity || ' ' || signal order by at desc))[1:3] as examples, max(at) as latest
from abstentions where reason <> '' group by reason order by count(*) desc, reason
"""

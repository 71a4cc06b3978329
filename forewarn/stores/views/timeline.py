"""What happened to each entity over time: anomalies, predictions, incidents, failures, deploys, responses, silence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.stores.views.now import rows

KINDS = ("failure", "incident", "prediction", "anomaly", "deploy", "response", "abstention")
SPANS = {"6h": 6, "1d": 24, "3d": 72, "7d": 168, "30d": 720, "90d": 2160}  # hours
MOST = 2000


@dataclass(frozen=True, slots=True)
class Happening:
    """Something with a begin; `until` is None where it is a moment or lasts. `state`: outcome, state or code."""

    kind: str  # of KINDS
    entity: str
    at: datetime
    until: datetime | None
    text: str
    state: str
    incident_id: str | None
    episode: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; empty: all. `kinds` of KINDS, `until` None: up to the event clock."""

    namespace: str = ""  # '-': of what has none, this host
    entity: str = ""
    kinds: Sequence[str] = KINDS
    span: timedelta = timedelta(days=7)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Happenings, newest first, at most MOST, and no more of a kind than its share; `total` counts all of them."""

    start: datetime
    end: datetime
    happenings: tuple[Happening, ...]
    total: int
    namespaces: tuple[str, ...]  # to choose from
    entities: tuple[str, ...]  # to choose from, of the namespace, at most 500


def timeline_view(connection: psycopg.Connection[Any], wanted: Wanted) -> TimelineView:
    """All that began or lasted between `until` less `span` and `until` (event time)."""
    end = wanted.until or connection.execute(_CLOCK.encode(), {"ns": wanted.namespace}).fetchone()[0]  # type: ignore[index]
    start = end - wanted.span
    parameters = {
        "start": start, "end": end, "ns": wanted.namespace, "entity": wanted.entity, "kinds": list(wanted.kinds),
        "most": MOST // max(len(wanted.kinds), 1),  # of each, so that none crowds out the others
    }  # fmt: skip
    found = tuple(rows(connection, Happening, _HAPPENINGS.format(limit="where nth <= %(most)s"), parameters))
    total = len(found)
    if max(Counter(h.kind for h in found).values(), default=0) == parameters["most"]:
        everything = f"select count(*) from ({_HAPPENINGS.format(limit='')}) c"  # noqa: S608 (constants)
        counted = connection.execute(everything.encode(), parameters)
        total = int((counted.fetchone() or (total,))[0])
    names = connection.execute(b"select namespace from watermarks where namespace <> '' order by namespace").fetchall()
    entities = connection.execute(_ENTITIES.encode(), parameters).fetchall()
    return TimelineView(start, end, found, total, tuple(n for (n,) in names), tuple(e for (e,) in entities))


# The clock of services, not this host's, where they differ: a replay runs in its own time.
_CLOCK = """
select coalesce((
    select at from watermarks where %(ns)s = '' or namespace = case when %(ns)s = '-' then '' else %(ns)s end
    order by namespace <> '' desc, at desc limit 1), now())
"""


_HAPPENINGS = """
select kind, entity, at, until, text, state, incident_id, episode from (
select h.*, row_number() over (partition by kind order by at desc, entity) as nth from (
    select 'failure' as kind, f.entity, f.failed_at as at, f.recovered_at as until, f.signal as text,
           case when f.predicted then 'predicted' else 'not predicted' end as state,
           i.incident_id::text, case when f.predicted then f.episode::text end as episode
    from failures f left join incident_episodes i on i.episode = f.episode
    where 'failure' = any(%(kinds)s) and f.failed_at <= %(end)s and coalesce(f.recovered_at, %(end)s) >= %(start)s
    union all
    select 'incident', entity, opened_at, case when state in ('predicted', 'firing') then null else updated_at end,
           title, state, incident_id::text, null
    from incidents where 'incident' = any(%(kinds)s) and opened_at between %(start)s and %(end)s
    union all
    select 'prediction', r.entity, r.predicted_at, coalesce(o.resolved_at, r.expires_at), r.signal,
           coalesce(o.outcome, 'open'), null, r.episode::text
    from risks r left join outcomes o using (risk_id)
    where 'prediction' = any(%(kinds)s) and r.state = 'open' and r.predicted_at between %(start)s and %(end)s
    union all
    select 'anomaly', entity, since, ended_at, text, case when ended_at is null then 'lasts' else 'over' end, null, null
    from anomalies where 'anomaly' = any(%(kinds)s) and since <= %(end)s and coalesce(ended_at, %(end)s) >= %(start)s
    union all
    select 'deploy', entity, time, null, body, '', null, null
    from log_records where 'deploy' = any(%(kinds)s) and attributes->>'event.name' = 'deployment'
      and time between %(start)s and %(end)s
    union all
    select 'response', r.entity, coalesce(r.acted_at, i.opened_at), null, r.response, r.status,
           i.incident_id::text, null
    from responses r join incidents i using (incident_id)
    where 'response' = any(%(kinds)s) and r.status <> 'superseded'
      and coalesce(r.acted_at, i.opened_at) between %(start)s and %(end)s
    union all
    select 'abstention', entity, max(at), null,
           case when count(*) = 1 then min(signal) || ': ' || reason else count(*) || ' signals: ' || reason end,
           max(code), null, null
    from abstentions a where 'abstention' = any(%(kinds)s) and reason <> '' and at between %(start)s and %(end)s
      and not exists (select from abstention_history h where h.entity = a.entity and h.signal = a.signal)
    group by entity, reason
    union all
    select 'abstention', entity, min(time), ended,
           case when count(*) = 1 then min(signal) || ': ' || min(reason)
                else count(*) || ' signals: ' || min(reason) end, code, null, null
    from (select entity, signal, time, code, reason,
                 (select min(n.time) from abstention_history n
                  where n.entity = b.entity and n.signal = b.signal and n.time > b.time) as ended
          from abstention_history b
          where 'abstention' = any(%(kinds)s) and reason <> '' and time between %(start)s and %(end)s) h
    group by entity, code, ended, date_bin('5 min', time, timestamptz '2000-01-01 00:00+00')
) h
where (%(ns)s = ''
       or coalesce(substring(h.entity from '^([^/]*)/'), '') = case when %(ns)s = '-' then '' else %(ns)s end)
  and (%(entity)s = '' or h.entity = %(entity)s)
) ranked {limit} order by at desc, kind, entity
"""

_ENTITIES = """
with recursive e as (
    (select entity from metric_series order by entity limit 1)
    union all
    select (select m.entity from metric_series m where m.entity > e.entity order by m.entity limit 1)
    from e where e.entity is not null
)
select entity from e where entity is not null
  and (%(ns)s = '' or coalesce(substring(entity from '^([^/]*)/'), '') = case when %(ns)s = '-' then '' else %(ns)s end)
order by entity limit 500
"""

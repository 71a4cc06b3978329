"""The control of false pages in PostgreSQL: what was seen, and how far the threshold is raised."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.evaluation.alarm_control import AlarmControl, Watched, controlled
from forewarn.telemetry.samples import namespace_of

_LAST = "select raised, clocks from alarm_control order by control_id desc limit 1"
_FALSE = """
select count(distinct coalesce(i.incident_id, r.episode)) from outcomes o join risks r using (risk_id)
left join incident_episodes i on i.episode = r.episode
where r.state = 'open' and o.outcome in ('expired', 'dismissed') and o.resolved_at > %(since)s
  and o.resolved_at <= %(until)s and not exists (
    select from incident_episodes s join outcomes t on t.episode = s.episode
    where s.incident_id = i.incident_id and t.outcome in ('hit', 'late', 'averted'))
  and case when strpos(r.entity, '/') > 0 then split_part(r.entity, '/', 1) else '' end = %(ns)s
"""
_ENTITIES = "select distinct entity from metric_series"
_INSERT = """
insert into alarm_control (raised, false_pages, service_seconds, services, clocks, reason)
values (%s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the ledger: what was seen, and the control before and after."""

    before: AlarmControl
    after: AlarmControl
    seen: Watched
    reason: str


def current(connection: psycopg.Connection[Any]) -> AlarmControl:
    """The control that holds now."""
    row = connection.execute(_LAST).fetchone()
    return AlarmControl(row[0]) if row else AlarmControl()


def look(connection: psycopg.Connection[Any], budget: FalseAlarmBudget) -> Look:
    """Count what was resolved since the last look, by each namespace's event clock, and move the control.

    The first look counts nothing: it notes the clocks.
    """
    connection.execute("lock table alarm_control in share row exclusive mode")
    row = connection.execute(_LAST).fetchone()
    before, known = (AlarmControl(row[0]), row[1]) if row else (AlarmControl(), {})
    clocks: dict[str, datetime] = dict(connection.execute("select namespace, at from watermarks").fetchall())
    services: dict[str, int] = {}
    for (entity,) in connection.execute(_ENTITIES):
        services[namespace_of(entity)] = services.get(namespace_of(entity), 0) + 1
    false, seconds, count = 0, 0.0, 0
    for namespace, now in clocks.items():
        since = datetime.fromisoformat(known[namespace]) if namespace in known else now
        asked = {"since": since, "until": now, "ns": namespace}
        found = connection.execute(_FALSE, asked).fetchone()
        false += int(found[0]) if found else 0
        seconds += services.get(namespace, 0) * max((now - since).total_seconds(), 0.0)
        count += services.get(namespace, 0)
    seen = Watched(false, seconds, count)
    after = controlled(before, seen, budget)
    allowed = budget.allowed(seconds)
    reason = f"{false} false pages where {allowed:.2f} were allowed; the threshold is raised by {after.raised:.2f}"
    told = {name: at.isoformat() for name, at in clocks.items()}
    values = (after.raised, false, seconds, count, Jsonb({**known, **told}), reason)
    connection.execute(_INSERT, values)
    return Look(before, after, seen, reason)

"""How the models do since they were trained: beside their shadow, minute by minute, in smoke tests, on the budget."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.stores.views.now import rows


@dataclass(frozen=True, slots=True)
class LiveRows:
    """What a model said while there is a shadow: `samples` are rows that both scored, `told` episodes."""

    model_version: str
    samples: int
    mean_probability: float | None  # over the samples
    told: int
    first: datetime  # event time
    last: datetime


@dataclass(frozen=True, slots=True)
class HealthPoint:
    """A minute (wall clock) of a model in a role, over all predictor processes."""

    role: str  # 'champion' or 'shadow'
    minute: datetime
    rows: int
    judged: int  # rows of which something was predicted
    alerts: int
    opened: int
    errors: int
    dropped: int
    p99_seconds: float | None  # the slowest process's
    last_error: str


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """Synthetic degradations of a kind in copies of a service, and how many were seen; `before` in the run before."""

    at: datetime
    model_version: str
    entity: str
    kind: str
    injected: int
    detected: int
    median_lead_seconds: float | None
    before: float | None  # share detected in the run before, None where it was not in it


@dataclass(frozen=True, slots=True)
class AlarmLook:
    """A look at the ledger: false pages of `service_seconds`, and how far the threshold was raised then (log-odds)."""

    at: datetime
    raised: float
    false_pages: int
    service_seconds: float
    services: int
    reason: str


@dataclass(frozen=True, slots=True)
class ModelLife:
    """What the models page shows beside the registry."""

    live: tuple[LiveRows, ...]  # of champion and shadow, while there is one
    health: tuple[HealthPoint, ...]  # oldest first
    smoke: tuple[SmokeResult, ...]  # of the newest run
    looks: tuple[AlarmLook, ...]  # oldest first


def model_life(
    connection: psycopg.Connection[Any],
    minutes: timedelta = timedelta(hours=3),
    weeks: timedelta = timedelta(weeks=4),
) -> ModelLife:
    """Health of the last `minutes`, looks at false alarms of the last `weeks` (both wall clock)."""
    return ModelLife(
        live=tuple(rows(connection, LiveRows, _LIVE)),
        health=tuple(rows(connection, HealthPoint, _HEALTH, (minutes,))),
        smoke=tuple(rows(connection, SmokeResult, _SMOKE)),
        looks=tuple(rows(connection, AlarmLook, _LOOKS, (weeks,))),
    )


_LIVE = """
select s.model_version, count(*) filter (where s.state = 'sample')::int as samples,
       avg(s.probability) filter (where s.state = 'sample') as mean_probability,
       count(distinct s.episode) filter (where s.state = 'open')::int as told,
       min(s.predicted_at) as first, max(s.predicted_at) as last
from shadow_predictions s join model_versions v on v.version = s.model_version
where v.stage in ('champion', 'shadow') and s.recorded_at >= (
    select changed_at from model_versions where stage = 'shadow')
group by s.model_version, v.stage order by v.stage
"""

_HEALTH = """
select h.role, h.minute, sum(h.rows)::int as rows, sum(h.rows - h.abstained)::int as judged,
       sum(h.alerts)::int as alerts, sum(h.opened)::int as opened, sum(h.errors)::int as errors,
       sum(h.dropped)::int as dropped, max(h.p99_seconds) as p99_seconds, max(h.last_error) as last_error
from model_health h where h.minute > now() - %s group by h.role, h.minute order by h.minute, h.role
"""

_SMOKE = """
with runs as (
    select run_id, max(at) as at, row_number() over (order by max(at) desc) as nth from smoke_results group by run_id
)
select s.at, s.model_version, s.entity, s.kind, s.injected, s.detected, s.median_lead_seconds, (
    select o.detected::float8 / nullif(o.injected, 0) from smoke_results o join runs p using (run_id)
    where p.nth = 2 and o.entity = s.entity and o.kind = s.kind) as before
from smoke_results s join runs r using (run_id) where r.nth = 1 order by s.entity, s.kind limit 600
"""

_LOOKS = """
select at, raised, false_pages::int, service_seconds, services::int, reason
from alarm_control where at > now() - %s order by control_id
"""

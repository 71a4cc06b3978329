"""Predictions against the truth: what came, what came unannounced, what was announced and did not come."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.stores.views.now import rows

SHOWN = 300


@dataclass(frozen=True, slots=True)
class Resolved:
    """An episode that is over, by its first prediction: the warning that people got."""

    episode: str
    incident_id: str | None
    entity: str
    signal: str
    mode: str
    outcome: str  # of the episode: hit if any of its predictions was
    predicted_at: datetime
    probability: float
    p10_seconds: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    failed_at: datetime | None
    lead_seconds: float | None
    inside_80: bool | None
    resolved_at: datetime
    revisions: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A failure that nobody was told about before."""

    entity: str
    signal: str
    mode: str
    failed_at: datetime
    recovered_at: datetime | None
    value: float
    limit_value: float


@dataclass(frozen=True, slots=True)
class Interval80:
    """How often the failure came inside the 80 % interval, over all predictions of the ledger that failed."""

    inside: int
    judged: int


@dataclass(frozen=True, slots=True)
class LedgerView:
    """Everything the ledger page shows; `counts` counts episodes by outcome."""

    counts: dict[str, int]
    failures: int
    failures_predicted: int
    interval: Interval80
    resolved: tuple[Resolved, ...]  # newest first, at most SHOWN
    misses: tuple[Miss, ...]  # newest first, at most SHOWN
    open_predictions: int  # episodes that wait for their outcome


def ledger_view(connection: psycopg.Connection[Any]) -> LedgerView:
    """The ledger of all namespaces."""
    counted = connection.execute(_COUNTS.encode()).fetchall()
    failures, predicted = connection.execute(
        b"select count(*)::int, count(*) filter (where predicted)::int from failures"
    ).fetchone() or (0, 0)
    waiting = connection.execute(_OPEN.encode()).fetchone() or (0,)
    return LedgerView(
        counts=dict(counted),
        failures=failures,
        failures_predicted=predicted,
        interval=rows(connection, Interval80, _INTERVAL)[0],
        resolved=tuple(rows(connection, Resolved, _RESOLVED, (SHOWN,))),
        misses=tuple(rows(connection, Miss, _MISSES, (SHOWN,))),
        open_predictions=waiting[0],
    )


_EPISODES = """
with episodes as (
    select episode, max(resolved_at) as resolved_at, max(failed_at) as failed_at, count(*)::int as revisions,
        case when bool_or(outcome = 'averted') then 'averted' when bool_or(outcome = 'dismissed') then 'dismissed'
             when bool_or(outcome = 'hit') then 'hit' when bool_or(outcome = 'late') then 'late'
             else min(outcome) end as outcome
    from outcomes group by episode
)
"""

_COUNTS = _EPISODES + "select outcome, count(*)::int from episodes group by outcome"  # noqa: S608 (constants)

_RESOLVED = (
    _EPISODES  # noqa: S608 (constants)
    + """\
select e.episode::text, i.incident_id::text, r.entity, r.signal, r.mode, e.outcome, r.predicted_at, r.probability,
       r.p10_seconds, r.p50_seconds, r.p90_seconds, e.failed_at,
       extract(epoch from e.failed_at - r.predicted_at)::float8 as lead_seconds, r.inside_80, e.resolved_at, e.revisions
from (select * from episodes order by resolved_at desc, episode limit %s) e
cross join lateral (
    select k.*, o.inside_80 from risks k left join outcomes o using (risk_id)
    where k.episode = e.episode order by k.revision limit 1
) r
left join incident_episodes i on i.episode = e.episode
order by e.resolved_at desc, e.episode
"""
)

_INTERVAL = """
select count(*) filter (where inside_80)::int as inside, count(inside_80)::int as judged
from outcomes where failed_at is not null
"""

_MISSES = """
select entity, signal, mode, failed_at, recovered_at, value, limit_value from failures
where not predicted order by failed_at desc limit %s
"""

_OPEN = """
select count(distinct episode)::int from risks r
where r.state <> 'withdrawn' and not exists (select from outcomes o where o.episode = r.episode)
"""

"""Predictions against the truth: what came, what came unannounced, what was announced and did not come."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.evaluation.ledger import TrackRecord
from forewarn.stores.ledger import PostgresLedger
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
    outcome: str  # hit, late, expired, averted or dismissed
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
    incident_id: str | None


@dataclass(frozen=True, slots=True)
class Interval80:
    """How often the failure came inside the 80 % interval, over all predictions of the ledger that failed."""

    inside: int
    judged: int


@dataclass(frozen=True, slots=True)
class LedgerView:
    """Everything the ledger page shows."""

    record: TrackRecord  # of all episodes
    interval: Interval80
    resolved: tuple[Resolved, ...]  # newest first, at most SHOWN
    misses: tuple[Miss, ...]  # newest first, at most SHOWN
    open_predictions: int  # episodes that wait for their outcome


def ledger_view(connection: psycopg.Connection[Any]) -> LedgerView:
    """The ledger of all namespaces."""
    waiting = connection.execute(_OPEN.encode()).fetchone() or (0,)
    return LedgerView(
        record=PostgresLedger(connection).track_record(),
        interval=rows(connection, Interval80, _INTERVAL)[0],
        resolved=tuple(rows(connection, Resolved, _RESOLVED, (SHOWN, SHOWN))),
        misses=tuple(rows(connection, Miss, _MISSES, (SHOWN,))),
        open_predictions=waiting[0],
    )


# By the rule of forewarn.evaluation.ledger: what was withdrawn before the failure did not announce it.
_RESOLVED = """
select r.episode::text, i.incident_id::text, r.entity, r.signal, r.mode,
       case when o.failed_at is not null and exists (
           select from risks w where w.episode = r.episode and w.state = 'withdrawn' and w.predicted_at <= o.failed_at)
       then 'expired' else o.outcome end as outcome,
       r.predicted_at, r.probability, r.p10_seconds, r.p50_seconds, r.p90_seconds, o.failed_at, o.lead_seconds,
       o.inside_80, o.resolved_at, (select count(*)::int from risks k where k.episode = r.episode) as revisions
from (select * from outcomes order by resolved_at desc limit 50 * %s) o
join risks r using (risk_id) left join incident_episodes i on i.episode = r.episode
where r.state = 'open' order by o.resolved_at desc, r.episode limit %s
"""

_INTERVAL = """
select count(*) filter (where inside_80)::int as inside, count(inside_80)::int as judged
from outcomes where failed_at is not null
"""

# A failure that comes again and again is one miss, as its episode says.
_MISSES = """
select * from (
    select distinct on (m.key) m.entity, m.signal, m.mode, m.failed_at, m.recovered_at, m.value, m.limit_value,
           i.incident_id::text
    from (select *, coalesce(episode::text, entity || signal || failed_at) as key from failures where not predicted) m
    left join incident_episodes i on i.episode = m.episode order by m.key, m.failed_at
) one order by failed_at desc limit %s
"""

_OPEN = """
select count(distinct episode)::int from risks r
where r.state = 'open' and not exists (select from outcomes o where o.risk_id = r.risk_id)
"""

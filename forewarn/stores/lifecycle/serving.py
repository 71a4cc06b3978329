"""What `should_roll_back` needs to know."""

from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.evaluation.lifecycle.evidence import Promised
from forewarn.evaluation.lifecycle.rollback import ServingState, Smoke, Vitals
from forewarn.stores import model_versions as registry
from forewarn.stores.lifecycle.realised import realised

LOOK_BACK = timedelta(hours=24)  # how much of the time before a champion it is compared with
_VITALS = """
select coalesce(sum(batches), 0)::bigint, coalesce(sum(errors), 0)::bigint, coalesce(sum(rows), 0)::bigint,
       coalesce(sum(abstained), 0)::bigint, coalesce(sum(opened), 0)::bigint,
       percentile_cont(0.5) within group (order by p99_seconds),
       coalesce((array_agg(last_error order by minute desc) filter (where last_error <> ''))[1], '')
from model_health
where role = 'champion' and minute >= %(since)s and minute < %(until)s and (%(version)s::text is null
      and model_version not in (select version from model_versions where stage = 'broken')
      or model_version = %(version)s)
"""
_CAME_TRUE = """
select count(distinct r.episode) from risks r join outcomes o using (risk_id)
where r.state = 'open' and o.outcome in ('hit', 'late') and r.recorded_at >= %(since)s and r.recorded_at < %(until)s
and (%(version)s::text is null or r.model_version = %(version)s)
"""
_SMOKE = """
with runs as (
    select run_id, model_version, min(at) as at, sum(injected)::int as injected, sum(detected)::int as detected
    from smoke_results where %(namespace)s::text is null or split_part(entity, '/', 1) = %(namespace)s
    group by run_id, model_version
), newest as (select injected, detected from runs where model_version = %(version)s order by at desc limit 1)
select coalesce((select injected from newest), 0), coalesce((select detected from newest), 0),
       coalesce(sum(injected) filter (where model_version <> %(version)s), 0)::int,
       coalesce(sum(detected) filter (where model_version <> %(version)s), 0)::int
from runs where model_version not in (select version from model_versions where stage = 'broken')
"""


def serving_state(connection: psycopg.Connection[Any], now: datetime, refused: str = "") -> ServingState | None:
    """The champion since it began to serve, beside what healthy models did in the day before; None without one.

    refused: why its files cannot be loaded, which whoever holds the model store can tell.
    """
    serves = registry.served(connection).champion
    if serves is None:
        return None
    champion = registry.find(connection, serves)
    since = champion.promoted_at or champion.changed_at
    # health is kept by whole minutes: the one in which the champion began belongs to both
    own = _vitals(connection, _minute(since), now, serves)
    before = _vitals(connection, since - LOOK_BACK, _minute(since), None)
    namespace = champion.trained_on.get("namespace")
    smoke, smoke_before = _smoke(connection, serves, namespace)
    return ServingState(
        version=serves,
        now=own,
        before=before if before.batches else None,
        refused=refused,
        realised=realised(connection, serves, None, namespace),
        promised=Promised.of(champion.metrics),
        smoke=smoke,
        smoke_before=smoke_before,
    )


def _minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def _smoke(connection: psycopg.Connection[Any], version: str, namespace: str | None) -> tuple[Smoke, Smoke]:
    """The newest smoke test of a version, and all those of the others that are not broken."""
    row = connection.execute(_SMOKE, {"version": version, "namespace": namespace}).fetchone()
    return (Smoke(*row[:2]), Smoke(*row[2:])) if row else (Smoke(), Smoke())


def _vitals(connection: psycopg.Connection[Any], since: datetime, until: datetime, version: str | None) -> Vitals:
    interval = {"since": since, "until": until, "version": version}
    row = connection.execute(_VITALS, interval).fetchone()
    true = connection.execute(_CAME_TRUE, interval).fetchone()
    if row is None or true is None:
        return Vitals()
    batches, errors, rows, abstained, opened, p99, last_error = row
    return Vitals(batches, errors, rows, abstained, opened, true[0], p99, last_error)

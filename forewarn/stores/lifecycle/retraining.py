"""What `should_retrain` needs to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.evaluation.lifecycle.evidence import Promised, Realised
from forewarn.evaluation.lifecycle.retraining import DriftReport, Lifecycle
from forewarn.stores import model_versions as registry
from forewarn.stores.lifecycle.realised import realised
from forewarn.stores.model_versions import Version
from forewarn.telemetry.limits import limited_signal

LEAST_HISTORY = timedelta(days=1)  # of a new kind of signal, before a model can learn from it
_REPORTS = 60
_DRIFT = """
select created_at, share, moved from (
    select created_at, (summary ->> 'drifted_share')::float8 as share,
           coalesce(summary -> 'moved', '{}'::jsonb) as moved from reports
    where kind = 'drift' and summary ? 'drifted_share' and (%(namespace)s::text is null
          or coalesce(summary ->> 'namespace', %(namespace)s) = %(namespace)s)
    order by created_at desc limit %(most)s) newest
where share is not null order by created_at
"""
_LABELS = """
select (select count(distinct r.episode) from outcomes o join risks r using (risk_id)
        where o.resolved_at > %(since)s and (%(namespace)s::text is null
              or split_part(r.entity, '/', 1) = %(namespace)s))
     + (select count(distinct episode) from failures where not predicted and failed_at > %(since)s
        and (%(namespace)s::text is null or split_part(entity, '/', 1) = %(namespace)s))
"""
_SIGNALS = """
select signal, array_agg(series_id) from metric_series
where %(namespace)s::text is null or split_part(entity, '/', 1) = %(namespace)s group by signal
"""
_FIRST_SEEN = "select min(time) from metric_rollups_1h where series_id = any(%s)"
_CLOCK = "select at from watermarks where namespace = %s"


@dataclass(frozen=True, slots=True)
class Attempts:
    """Trainings as the orchestrator has them: when the last began, whether one runs, how many failed in a row."""

    last: datetime | None = None
    running: bool = False
    failed: int = 0


def retraining_state(connection: psycopg.Connection[Any], now: datetime, attempts: Attempts | None = None) -> Lifecycle:
    """Registry, reports, ledger and archive, of the namespace that the newest version was trained on."""
    attempts = attempts or Attempts()
    known = registry.versions(connection)
    serves = next((v for v in known if v.stage == registry.Stage.CHAMPION), None)
    # one that was rolled back was a champion, too: its history had been vouched for, and nobody need do so again
    champion = serves or next((v for v in known if v.promoted_at is not None), None)
    if champion is None:
        return Lifecycle(now, None, None, attempts.last, attempts.running, attempts.failed)
    newest = known[0]
    namespace = newest.trained_on.get("namespace")
    return Lifecycle(
        now=now,
        champion_trained_at=champion.trained_at,
        last_training=newest.trained_at,
        last_attempt=attempts.last,
        running=attempts.running,
        failed_since=attempts.failed,
        drift=_drift(connection, namespace),
        new_labels=_new_labels(connection, newest.data_to, namespace),
        realised=_realised(connection, champion, newest, namespace),
        promised=Promised.of(champion.metrics),
        new_kinds=new_kinds(connection, newest),
        namespace=namespace,
        rolled_back=newest.version if serves is None and newest.stage == registry.Stage.BROKEN else "",
    )


def new_kinds(connection: psycopg.Connection[Any], newest: Version) -> Sequence[str]:
    """Signals with a limit that the newest version has not learned from and that have LEAST_HISTORY."""
    learned = newest.trained_on.get("signals")
    if not learned:
        return ()
    namespace = newest.trained_on.get("namespace")
    there = dict(connection.execute(_SIGNALS, {"namespace": namespace}).fetchall())
    limited = {name for name in map(limited_signal, there) if name is not None and name in there}
    clock = connection.execute(_CLOCK, (namespace or "",)).fetchone()
    if clock is None:
        return ()
    new = sorted(limited - set(learned))
    return tuple(name for name in new if _has_history(connection, there[name], clock[0]))


def _has_history(connection: psycopg.Connection[Any], series: list[int], clock: datetime) -> bool:
    row = connection.execute(_FIRST_SEEN, (series,)).fetchone()
    return bool(row and row[0] is not None and row[0] <= clock - LEAST_HISTORY)


def _drift(connection: psycopg.Connection[Any], namespace: str | None) -> tuple[DriftReport, ...]:
    rows = connection.execute(_DRIFT, {"namespace": namespace, "most": _REPORTS})
    return tuple(DriftReport(*row) for row in rows)


def _new_labels(connection: psycopg.Connection[Any], since: datetime, namespace: str | None) -> int:
    row = connection.execute(_LABELS, {"since": since, "namespace": namespace}).fetchone()
    return int(row[0]) if row else 0


def _realised(
    connection: psycopg.Connection[Any], champion: Version, newest: Version, namespace: str | None
) -> Realised:
    return realised(connection, champion.version, newest.data_to, namespace)

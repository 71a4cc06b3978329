"""Starts training where `should_retrain` says so; each tick shows its reason."""

from datetime import UTC, datetime

import dagster as dg
import psycopg

from forewarn.config.settings import Settings
from forewarn.evaluation.retraining import Lifecycle, should_retrain

_STATE = """
select
  (select max(trained_at) from model_versions),
  (select trained_at from model_versions where stage = 'champion'),
  (select (summary ->> 'drifted_share')::float from reports where kind = 'drift'
     and created_at > coalesce((select max(trained_at) from model_versions), '-infinity')
     order by created_at desc limit 1),
  (select count(distinct episode) from outcomes o
     where o.resolved_at > coalesce((select max(data_to) from model_versions), '-infinity'))
"""


@dg.sensor(
    job_name="train",
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains again on drift, on enough new outcomes or when the champion is old; asks every ten minutes.",
)
def retrain(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One training for each training before it: its time is the run key, so one cause starts one run."""
    try:
        state = read_lifecycle(Settings().postgres_url.get_secret_value(), datetime.now(UTC))
    except psycopg.Error as error:
        return dg.SkipReason(f"the registry cannot be read: {str(error).strip()}")
    verdict = should_retrain(state)
    context.log.info(verdict.reason)
    if not verdict.yes:
        return dg.SkipReason(verdict.reason)
    return dg.RunRequest(run_key=str(state.last_training), tags={"forewarn/reason": verdict.reason})


def read_lifecycle(postgres_url: str, now: datetime) -> Lifecycle:
    """What the registry, the reports and the ledger say. Raises psycopg.OperationalError."""
    with psycopg.connect(postgres_url, connect_timeout=5) as connection:
        row = connection.execute(_STATE).fetchone()
    last, champion, drifted, outcomes = row if row else (None, None, None, 0)
    return Lifecycle(now, last, champion, drifted, outcomes)

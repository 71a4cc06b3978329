"""Starts training where `should_retrain` says so; each tick shows its reason."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus

from forewarn.config.settings import Settings
from forewarn.evaluation.lifecycle.retraining import Policy, should_retrain
from forewarn.stores.lifecycle.retraining import Attempts, retraining_state
from sensors.connection import Tick, connected, instance_of, told_in_the_tick

JOB = "train"
_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=max(60, Settings().lifecycle_interval_seconds),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains again on drift, decay of what the ledger says, new labels, a new kind of signal, or age.",
)
@told_in_the_tick
def retrain(context: dg.SensorEvaluationContext) -> Tick:
    """At most one training for one state of the registry and of Dagster: that is the run key."""
    settings = Settings()
    tried = attempts(instance_of(context))
    with connected(settings) as connection:
        state = retraining_state(connection, datetime.now(UTC), tried)
    verdict = should_retrain(state, policy(settings))
    if not verdict.yes:
        return dg.SkipReason(verdict.reason)
    config = {"resources": {"scope": {"config": {"namespace": state.namespace}}}} if state.namespace else {}
    return dg.RunRequest(
        run_key=f"{state.last_training}/{state.last_attempt}",
        run_config=config,
        tags={"forewarn/reason": verdict.reason},
    )


def policy(settings: Settings) -> Policy:
    """What the operator chose."""
    return Policy(
        max_age=timedelta(days=settings.retrain_every_days),
        cooldown=timedelta(hours=settings.retrain_cooldown_hours),
        new_labels=settings.retrain_new_labels,
    )


def attempts(instance: dg.DagsterInstance) -> Attempts:
    """The trainings that Dagster knows of: whoever started them."""
    records = instance.get_run_records(dg.RunsFilter(job_name=JOB), limit=20)  # newest first
    if not records:
        return Attempts()
    failed = 0
    for record in records:
        if record.dagster_run.status != DagsterRunStatus.FAILURE:
            break
        failed += 1
    running = any(r.dagster_run.status not in _ENDED for r in records)
    return Attempts(records[0].create_timestamp, running, failed)

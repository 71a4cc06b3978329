"""What runs by the clock."""

import dagster as dg
import psycopg

from forewarn.config.settings import Settings
from forewarn.stores import model_versions as registry
from sensors.connection import connected


@dg.schedule(
    job_name="drift",
    cron_schedule="30 3,9,15,21 * * *",  # a change shows within a day: a report a day would see it a day late
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Brings history up to date and compares the newest day with the training interval.",
)
def regular_drift() -> dg.RunRequest | dg.SkipReason:
    """Of the namespace that the newest model was trained on; without a model there is nothing to compare with."""
    try:
        with connected(Settings()) as connection:
            known = registry.versions(connection)
    except psycopg.OperationalError as error:
        return dg.SkipReason(f"PostgreSQL cannot be asked: {str(error).strip()}")
    if not known:
        return dg.SkipReason("no model yet: there is no training interval to compare with")
    namespace = known[0].trained_on.get("namespace")
    config = {"resources": {"scope": {"config": {"namespace": namespace}}}} if namespace else {}
    return dg.RunRequest(run_config=config)


hourly_capacity = dg.ScheduleDefinition(
    name="hourly_capacity",
    job_name="capacity",
    cron_schedule="12 * * * *",  # once the hour before has been rolled up
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Forecasts of every capacity, seconds of work for a thousand signals; NeuralProphet only where it won.",
)

daily_capacity_contest = dg.ScheduleDefinition(
    name="daily_capacity_contest",
    job_name="capacity",
    cron_schedule="42 4 * * *",
    execution_timezone="UTC",
    run_config={"ops": {"capacity_forecasts": {"config": {"neural_seconds": 240.0}}}},
    default_status=dg.DefaultScheduleStatus.STOPPED,  # minutes of work, for a candidate that rarely wins
    description="The same with NeuralProphet among the candidates, user activity as its lagged regressor.",
)

"""What runs by the clock."""

import dagster as dg

daily_drift = dg.ScheduleDefinition(
    name="daily_drift",
    job_name="drift",
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,  # a demo does not run over night
    description="Brings history up to date and compares the newest day with the training interval.",
)

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

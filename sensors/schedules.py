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

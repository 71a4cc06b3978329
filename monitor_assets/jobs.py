"""Jobs over the assets."""

import dagster as dg

from monitor_assets.drift.drift_report import drift_report
from monitor_assets.ingestion.raw_metrics import UP_TO_DATE

_WHOLE = {UP_TO_DATE: "all of it"}

train = dg.define_asset_job(
    name="train",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("import", "telemetry", "watch", "capacity"),
    executor_def=dg.in_process_executor,  # a process for each step would import the libraries a dozen times
    description="From the archive of a namespace to a promoted model: history, features, models, backtest, registry.",
    tags={"forewarn/purpose": "train", **_WHOLE},
)

capacity = dg.define_asset_job(
    name="capacity",
    selection=dg.AssetSelection.groups("capacity"),
    executor_def=dg.in_process_executor,
    description="Which signals fill up within a week, by the archive's hourly roll-ups; tells risks.",
)

drift = dg.define_asset_job(
    name="drift",
    selection=dg.AssetSelection.assets(drift_report).upstream(),
    executor_def=dg.in_process_executor,
    description="Brings history up to date and compares the newest day with the training interval.",
    tags=_WHOLE,
)

telemetry = dg.define_asset_job(
    name="telemetry",
    selection=dg.AssetSelection.groups("telemetry"),
    executor_def=dg.in_process_executor,
    description="Days of logs, spans and activity from the archive to files, templates and the service graph.",
)

watch = dg.define_asset_job(
    name="watch",
    selection=dg.AssetSelection.assets("ledger_resolution", "alarm_budget"),
    executor_def=dg.in_process_executor,
    description="Whether every prediction has its outcome; false pages beside their budget.",
)

smoke = dg.define_asset_job(
    name="smoke",
    selection=dg.AssetSelection.assets("smoke_test").upstream(),
    executor_def=dg.in_process_executor,
    description="Synthetic degradations in a copy of each service's recent stream: would we have seen them?",
    tags=_WHOLE,
)

hourly_watch = dg.ScheduleDefinition(
    name="hourly_watch",
    job=watch,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Outcomes and the budget of false pages.",
)

daily_smoke = dg.ScheduleDefinition(
    name="daily_smoke",
    job_name="smoke",
    cron_schedule="40 4 * * *",
    execution_timezone="UTC",
    description="The smoke detector test, once a day.",
)

daily_telemetry = dg.build_schedule_from_partitioned_job(
    telemetry,
    name="daily_telemetry",
    hour_of_day=2,
    minute_of_hour=30,
    description="Yesterday's logs, spans and activity.",
)

import_history = dg.define_asset_job(
    name="import_history",
    selection=dg.AssetSelection.assets("imported_metrics"),
    executor_def=dg.in_process_executor,
    description="Days of history from a Prometheus into the archive; a backfill imports many.",
)

import_files = dg.define_asset_job(
    name="import_files",
    selection=dg.AssetSelection.assets("imported_files"),
    executor_def=dg.in_process_executor,
    description="Days of history from files in the long format into the archive.",
)

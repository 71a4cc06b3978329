"""Everything that Dagster loads, wired; nothing is decided here."""

import os

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

import dagster as dg

from monitor_assets import jobs
from monitor_assets.drift import drift_report
from monitor_assets.evaluation import alarm_budget, backtest_report, calibration_report, ledger_resolution, smoke_test
from monitor_assets.features import incident_labels, log_templates, service_graph, signal_features, signal_windows
from monitor_assets.ingestion import imported, raw_events, raw_metrics
from monitor_assets.registry import candidate_model, champion_model
from monitor_assets.scope import TrainingScope
from monitor_assets.training import (
    anomaly_model,
    capacity_forecasts,
    failure_model,
    load_forecaster,
    simulated_incidents,
    training_set,
)
from sensors.promotion import promote_shadow
from sensors.retraining import retrain
from sensors.rollback import roll_back_champion
from sensors.schedules import daily_capacity_contest, hourly_capacity, regular_drift
from sensors.tracking import reconcile_tracking

_MODULES = [
    imported,
    raw_metrics,
    raw_events,
    log_templates,
    service_graph,
    signal_windows,
    signal_features,
    incident_labels,
    simulated_incidents,
    training_set,
    failure_model,
    anomaly_model,
    load_forecaster,
    capacity_forecasts,
    backtest_report,
    calibration_report,
    ledger_resolution,
    alarm_budget,
    smoke_test,
    candidate_model,
    champion_model,
    drift_report,
]

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(_MODULES),
    asset_checks=dg.load_asset_checks_from_modules(_MODULES),
    jobs=[
        jobs.train,
        jobs.drift,
        jobs.telemetry,
        jobs.watch,
        jobs.smoke,
        jobs.capacity,
        jobs.import_history,
        jobs.import_files,
    ],
    sensors=[retrain, promote_shadow, roll_back_champion, reconcile_tracking],
    schedules=[
        regular_drift,
        hourly_capacity,
        daily_capacity_contest,
        jobs.daily_telemetry,
        jobs.hourly_watch,
        jobs.daily_smoke,
    ],
    resources={
        "scope": TrainingScope.configure_at_launch(),
        "prometheus": imported.PrometheusSource.configure_at_launch(),
        "long_files": imported.LongFiles.configure_at_launch(),
    },
)

"""JumpStarter's services: anomalies over their metrics by VUS-PR, and forecasts of their metrics."""

from pathlib import Path

from forewarn.evaluation.datasets.machines import read_split
from forewarn.evaluation.datasets.multivariate import STEP_SECONDS, anomaly_reports
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """VUS-PR over the services in `data` (folders of NAME.parquet); error, CRPS and coverage of forecasts."""
    from forewarn.evaluation.datasets.forecasts import forecast_report

    return [*anomalies(data, options), *forecast_report(data, options)]


def anomalies(data: Path, options: Options) -> list[DatasetReport]:
    """Anomaly part: see `multivariate.anomaly_reports`."""
    services = list(read_split(data))
    if not services:
        raise DatasetError(f"{data} holds no NAME.parquet: the folders Dataset2 and Dataset3 are expected")
    return anomaly_reports(services, options, STEP_SECONDS["jumpstarter"])

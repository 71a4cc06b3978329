"""Which data sets `forewarn evaluate` knows, and the module that reads and scores each."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options

_HERE = "forewarn.evaluation.datasets"


@dataclass(frozen=True, slots=True)
class Dataset:
    """`module` holds `evaluate(name, data, options) -> list[DatasetReport]`, imported when it is called."""

    name: str
    module: str
    about: str


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("smd", "multivariate", "38 metrics of server machines, anomalies: VUS-PR"),
        Dataset("asd", "multivariate", "19 metrics of application servers, anomalies: VUS-PR"),
        Dataset(
            "jumpstarter", "jumpstarter", "19 metrics of services, anomalies: VUS-PR; forecasts: scaled error, CRPS"
        ),
        Dataset("kpi_aiops", "univariate", "KPIs of services, anomalies: VUS-PR"),
        Dataset("ms_cloud_monitoring", "univariate", "cloud monitoring series, anomalies: VUS-PR"),
        Dataset("nab", "nab", "Numenta Anomaly Benchmark, streaming anomalies: standard profile score"),
        Dataset("hdfs_sequences", "log_sequences", "sequences of log templates, anomalies: F1"),
        Dataset("smart_disks", "smart_disks", "disk failures days ahead: recall at 1 % of the disks a week"),
        Dataset("nezha", "nezha", "faults in microservices: root cause top-1"),
        Dataset("petshop", "petshop", "issues over a service graph: root cause top-1"),
        Dataset("llm_server_aging", "forecasts", "memory of a server that ages: scaled error, CRPS"),
        Dataset("web_request_rates", "forecasts", "requests of a web server: scaled error, CRPS"),
    )
}


def evaluate(name: str, data: Path, options: Options) -> Sequence[DatasetReport]:
    """Reports of one data set, the most important first. Raises DatasetError."""
    if name not in DATASETS:
        raise DatasetError(f"no data set is called {name!r}: give one of {', '.join(DATASETS)}")
    if not data.is_dir():
        raise DatasetError(f"{data} is not a folder: name the one that holds the files of {name}")
    module = importlib.import_module(f"{_HERE}.{DATASETS[name].module}")
    reports: Sequence[DatasetReport] = module.evaluate(name, data, options)
    return reports

"""All models of a run as one bundle: in the model store, in the registry and in MLflow."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg

from bentos import model_store
from feature_repo.views import SERVICE
from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.risk.bundle import MANIFEST, Manifest, ModelBundle, save_bundle
from forewarn.stores import model_versions as registry
from monitor_assets.evaluation.backtest_report import NAME as BACKTEST
from monitor_assets.evaluation.backtest_report import backtest_report
from monitor_assets.history import History
from monitor_assets.markdown import table
from monitor_assets.registry.code_version import code_version
from monitor_assets.registry.tracking import TrackingError, log_version, open_tracking
from monitor_assets.scope import TrainingScope
from monitor_assets.training import failure_model as failures
from monitor_assets.training.anomaly_model import NAME as ANOMALY
from monitor_assets.training.anomaly_model import anomaly_model
from monitor_assets.training.load_forecaster import NAME as FORECASTER

NAME = "candidate_model"


@dg.asset(
    deps=[backtest_report, anomaly_model],
    group_name="registry",
    kinds={"bentoml", "mlflow", "postgres"},
    owners=["team:forewarn"],
)
def candidate_model(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """The run's models in BentoML's store as `forewarn:VERSION`, in the registry as a candidate, in MLflow as a run.

    In this order: what the registry names can be loaded, whatever ends the run in between. What MLflow has not heard
    of, the sensor `reconcile_tracking` tells it.
    """
    history = scope.history()
    bundle = bundle_of(history, datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="forewarn-bundle-") as folder:
        save_bundle(bundle, Path(folder))
        stored = model_store.put(Path(folder))
    m = bundle.manifest
    with psycopg.connect(scope.postgres_url) as connection:
        why = f"trained on {scope.namespace or 'all that has no namespace'} in run {context.run.run_id[:8]}"
        registry.register(connection, m, "dagster", why)
    history.write_json(NAME, {"version": m.version})
    tracked = track(context, scope, stored.path, m)
    context.log.info("forewarn:%s", m.version)
    rows = [(name, metric["value"], _beside(metric["baselines"])) for name, metric in m.metrics.items()]
    return dg.MaterializeResult(
        metadata={
            "version": m.version,
            "threshold": m.threshold,
            "data": f"{m.data_from:%Y-%m-%d %H:%M} to {m.data_to:%Y-%m-%d %H:%M} UTC",
            "metrics": table(["metric", "value", "beside"], rows),
            "folder": dg.MetadataValue.path(str(stored.path)),
            "MLflow run": tracked,
        },
        data_version=dg.DataVersion(m.version),
    )


def bundle_of(history: History, now: datetime) -> ModelBundle:
    """The models in the making of a namespace as a bundle; its version is the time it was made."""
    windows, model = history.read_windows(), failures.load(history)
    forecast = history.read_json(FORECASTER)
    forecaster = history.model_folder(FORECASTER)
    manifest = Manifest(
        version=f"{now:%Y%m%d-%H%M%S}",
        trained_at=now,
        data_from=windows.time_of(0),
        data_to=windows.time_of(windows.cells.shape[1]),
        threshold=model.threshold,
        forecaster_of={"limited": "trend", "load": forecast["chosen"]},
        calibration={"time_margin": model.time.margin, "time_shift": model.time.shift},
        metrics=history.read_json(BACKTEST)["metrics"],
        trained_on={
            "namespace": history.namespace,
            "signals": sorted({windows.series[i].signal for i in windows.limited}),
            "series": len(windows.series),
            "code_version": code_version(),
            "feature_service": SERVICE,
        },
    )
    anomaly = IsolationForestDetector.load(history.model_folder(ANOMALY))
    return ModelBundle(manifest, model.hazard, model.time, anomaly, forecaster if forecaster.exists() else None)


def track(context: dg.AssetExecutionContext, scope: TrainingScope, bundle: Path, m: Manifest) -> str:
    """Log the training in MLflow; the run's id, or why there is none: a training does not fail for it."""
    reports = sorted((scope.home / "reports").glob(f"backtest-{scope.namespace or '_'}-*.html"))
    parameters = {"threshold": m.threshold, "detector": m.detector}
    parameters |= {f"forecaster.{kind}": name for kind, name in m.forecaster_of.items()}
    parameters |= {f"calibration.{name}": value for name, value in m.calibration.items()}
    with psycopg.connect(scope.postgres_url) as connection:
        version = registry.find(connection, m.version)
    try:
        tracking = open_tracking(scope.settings())
        return log_version(tracking, version, parameters, [bundle / MANIFEST, *reports[-1:]], context.run.run_id)
    except TrackingError as error:
        context.log.warning("%s", error)
        return f"none: {error}"


def _beside(baselines: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in baselines.items() if value is not None)

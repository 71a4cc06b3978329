"""The trained models on days that they have not seen, beside the simple methods."""

from datetime import UTC, datetime

import dagster as dg
import numpy as np

from forewarn.evaluation.backtest import Backtest, Stretch, backtest
from forewarn.evaluation.split import Part
from monitor_assets.evaluation.report_page import write_report
from monitor_assets.evaluation.shap_importance import shap_importance
from monitor_assets.markdown import table
from monitor_assets.registry.reports import record_report
from monitor_assets.scope import TrainingScope
from monitor_assets.training import failure_model as failures
from monitor_assets.training.failure_model import failure_model
from monitor_assets.training.load_forecaster import NAME as FORECASTER
from monitor_assets.training.load_forecaster import load_forecaster
from monitor_assets.training.parts import stretch_of

NAME = "backtest_report"


@dg.asset(
    deps=[failure_model, load_forecaster],
    group_name="evaluation",
    kinds={"shap", "matplotlib"},
    owners=["team:forewarn"],
)
def backtest_report(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Warnings, probabilities and intervals of the candidate on the test interval; an HTML report with pictures.

    Beside it: linear extrapolation as Prometheus's predict_linear, a static threshold of 90 %, the first-day trend.
    """
    history = scope.history()
    model = failures.load(history)
    stretch = stretch_of(history, history.read_windows(), Part(*history.read_json("split")["test"]))
    scorer = model.scorer("candidate")
    result = backtest(scorer, stretch)
    importance = shap_importance(model.hazard, _explained(stretch, 1 - scorer.survival(stretch.features)[:, 3]))
    now = datetime.now(UTC)
    path = scope.home / "reports" / f"backtest-{scope.namespace or '_'}-{now:%Y%m%d-%H%M%S}.html"
    forecast = history.read_json(FORECASTER)
    write_report(path, scope.namespace, result, scorer, stretch, importance, forecast)
    metrics = {**result.metrics(), **_forecast_metrics(forecast)}
    history.write_json(NAME, {"metrics": metrics, "shap_difference": importance.largest_difference})
    record_report(scope, "backtest", path, {"namespace": scope.namespace, **_summary(result)})
    context.log.info("recall %.2f, precision %.2f", result.events["model"].recall, result.events["model"].precision)
    return dg.MaterializeResult(
        metadata={
            "warnings": _events_table(result),
            "probabilities": table(list(result.horizons[0]), (list(row.values()) for row in result.horizons)),
            "interval coverage": table(["steps to the failure", "share inside 80 %"], result.coverage.items()),
            "importance": table(["feature", "mean |SHAP|"], importance.ranked()[:12]),
            "report": dg.MetadataValue.path(str(path)),
            "report page": dg.MetadataValue.url(f"{scope.settings().public_url}/models"),
        }
    )


def _events_table(result: Backtest) -> dg.MarkdownMetadataValue:
    header = [
        "method",
        "incidents",
        "predicted",
        "recall",
        "warnings",
        "true",
        "precision",
        "F1",
        "lead (steps)",
        "Brier",
    ]
    rows = [
        (
            name,
            m.incidents,
            m.predicted_incidents,
            m.recall,
            m.pages,
            m.true_pages,
            m.precision,
            m.f1,
            m.median_lead,
            result.brier[name],
        )
        for name, m in result.events.items()
    ]
    return table(header, rows)


def _summary(result: Backtest) -> dict[str, float | None]:
    model = result.events["model"]
    figures = {"recall": model.recall, "precision": model.precision, "coverage_80": result.coverage["all"]}
    return {name: None if np.isnan(value) else round(value, 4) for name, value in figures.items()}


def _forecast_metrics(forecast: dict[str, float]) -> dict[str, dict[str, object]]:
    if "error" not in forecast:
        return {}
    return {
        "load_forecast_error": {"value": forecast["error"], "baselines": {"seasonal_naive": forecast["naive_error"]}}
    }


def _explained(stretch: Stretch, probability: np.ndarray, most: int = 300) -> np.ndarray:
    """Rows to explain: half those of the highest risk, half drawn evenly from the rest."""
    order = np.argsort(-probability)
    high, rest = order[: most // 2], order[most // 2 :]
    even = rest[np.linspace(0, len(rest) - 1, min(most // 2, len(rest))).astype(int)] if len(rest) else rest
    return stretch.features[np.concatenate([high, even])]


@dg.asset_check(asset=backtest_report, description="On the test interval the model beats every simple method.")
def model_beats_baselines(scope: TrainingScope) -> dg.AssetCheckResult:
    """By F1 of warnings against predict_linear and the static threshold, by Brier score against the base rate."""
    metrics = scope.history().read_json(NAME)["metrics"]
    f1, brier = metrics["f1"], metrics["brier_6h"]
    simple = {name: f1["baselines"][name] for name in ("predict_linear", "static_90")}
    better = f1["value"] > max(simple.values()) and brier["value"] < brier["baselines"]["base_rate"]
    return dg.AssetCheckResult(
        passed=bool(better),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"F1": f1["value"], "F1 of simple methods": simple, "Brier": brier["value"],
                  "Brier of the base rate": brier["baselines"]["base_rate"]},
    )  # fmt: skip


@dg.asset_check(asset=backtest_report, description="LightGBM's contributions are shap.TreeExplainer's values.")
def contributions_are_shap_values(scope: TrainingScope) -> dg.AssetCheckResult:
    """What explains a risk on line is the same as what the report shows."""
    difference = scope.history().read_json(NAME)["shap_difference"]
    return dg.AssetCheckResult(passed=difference < 1e-6, metadata={"largest difference in log-odds": difference})

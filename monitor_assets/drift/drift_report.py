"""Whether the newest day looks as the training interval did, by Evidently."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.compute as pc

from forewarn.features.definitions import FEATURE_NAMES
from monitor_assets.history import History
from monitor_assets.markdown import table
from monitor_assets.registry.reports import record_report
from monitor_assets.scope import TrainingScope
from monitor_assets.training.training_set import training_set

MOST_ROWS = 3_000
SEED = 2
# Times of day and history move by themselves, and are no drift.
_COMPARED = [n for n in FEATURE_NAMES if n not in ("log_history", "week_diff", "week_z") and "5m" not in n]


@dg.asset(deps=[training_set], group_name="drift", kinds={"evidently"}, owners=["team:forewarn"])
def drift_report(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Distribution of each feature in the newest day beside the training interval; an HTML report."""
    history = scope.history()
    reference, current = compared_rows(history)
    if len(current) < 50 or len(reference) < 50:
        raise dg.Failure(f"{len(reference)} and {len(current)} rows are too few to compare")
    path = scope.home / "reports" / f"drift-{scope.namespace or '_'}-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    found = evidently_report(reference, current, path)
    share = float(np.mean([score["drifted"] for score in found.values()])) if found else 0.0
    summary = {"namespace": scope.namespace, "drifted_share": round(share, 4), "features": len(found)}
    record_report(scope, "drift", path, summary)
    context.log.info("%.0f %% of %d features drifted", 100 * share, len(found))
    ranked = sorted(found.items(), key=lambda item: -item[1]["score"])
    return dg.MaterializeResult(
        metadata={
            "drifted share": share,
            "reference rows": len(reference),
            "current rows": len(current),
            "features": table(
                ["feature", "distance", "drifted"], [(n, s["score"], s["drifted"]) for n, s in ranked[:15]]
            ),
            "report": dg.MetadataValue.path(str(path)),
        }
    )


def compared_rows(history: History) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of the training interval and of the newest day of event time, sampled."""
    windows, split = history.read_windows(), history.read_json("split")
    columns = ["event_timestamp", *_COMPARED]
    features = history.read_features(columns)
    newest = pc.max(features.column("event_timestamp")).as_py()
    times = features.column("event_timestamp")
    day = pc.greater(times, pd.Timestamp(newest) - pd.Timedelta(days=1))
    trained = pc.less(times, windows.time_of(split["train"][1]))
    rng = np.random.default_rng(SEED)

    def sampled(mask: Any) -> pd.DataFrame:
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        keep = np.sort(rng.permutation(rows)[:MOST_ROWS])
        return features.take(keep).to_pandas().drop(columns="event_timestamp")

    reference, current = sampled(trained), sampled(day)
    there = [c for c in _COMPARED if reference[c].notna().any() and current[c].notna().any()]
    return reference[there], current[there]


def evidently_report(reference: pd.DataFrame, current: pd.DataFrame, path: Path) -> dict[str, dict[str, Any]]:
    """Write Evidently's page; returns {feature: {"score": distance, "drifted": bool}}."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(reference.columns))
    data = (Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference))
    result = Report([DataDriftPreset(num_method="wasserstein", num_threshold=0.3)]).run(*data)
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_html(str(path))
    found = {}
    for metric in result.dict()["metrics"]:
        column = metric.get("config", {}).get("column")
        if column and isinstance(metric["value"], int | float):
            score = float(metric["value"])
            found[column] = {"score": score, "drifted": score >= 0.3}
    return found


@dg.asset_check(asset=drift_report, description="Less than 40 % of the features moved since the training interval.")
def features_have_not_drifted(context: dg.AssetCheckExecutionContext, scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: whether to train again is the retraining sensor's decision."""
    from forewarn.evaluation.retraining import DRIFTED_SHARE

    event = context.instance.get_latest_materialization_event(dg.AssetKey("drift_report"))
    materialization = event.asset_materialization if event else None
    share = float(materialization.metadata["drifted share"].value) if materialization else float("nan")
    return dg.AssetCheckResult(
        passed=share < DRIFTED_SHARE, severity=dg.AssetCheckSeverity.WARN, metadata={"drifted share": share}
    )

"""Whether the newest day looks as the training interval did, by Evidently."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import psycopg
import pyarrow.compute as pc

from bentos import model_store
from forewarn.evaluation.lifecycle.retraining import DRIFTED_SHARE, DriftReport
from forewarn.evaluation.model_metrics import known_outcome
from forewarn.features.definitions import FEATURE_NAMES, HORIZON_STEPS
from forewarn.risk.bundle import BundleError, load_bundle
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, score
from monitor_assets.drift.shifted_signals import moved, shifted_signals
from monitor_assets.history import History
from monitor_assets.markdown import table
from monitor_assets.registry.reports import record_report
from monitor_assets.scope import TrainingScope
from monitor_assets.training.training_set import training_set

MOST_ROWS = 3_000
SEED = 2
MOST_DISTANCE = 0.3  # Wasserstein, in standard deviations of the reference
PREDICTION, TARGET = "prediction", "target"
_HORIZON = HORIZON_STEPS[PAGING_HORIZON]
# Times of day and history move by themselves, and are no drift.
_COMPARED = [n for n in FEATURE_NAMES if n not in ("log_history", "week_diff", "week_z") and "5m" not in n]


@dg.asset(deps=[training_set], group_name="drift", kinds={"evidently"}, owners=["team:forewarn"])
def drift_report(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """The newest day beside the training interval: distribution of each feature (data drift), of what the model that
    serves says (prediction drift) and of what came (target drift), and the quality of the rows; an HTML report.

    Rows of all signals pooled do not see what one release changes in one service: beside them, each limited signal is
    compared with itself, day with day, less what load explains (`forewarn.evaluation.lifecycle.level_shift`).
    """
    history = scope.history()
    reference, current = compared_rows(history)
    if len(current) < 50 or len(reference) < 50:
        raise dg.Failure(f"{len(reference)} and {len(current)} rows are too few to compare")
    scorer = serving_scorer(scope)
    reference, current = (_with_prediction(frame, scorer) for frame in (reference, current))
    path = scope.home / "reports" / f"drift-{scope.namespace or '_'}-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    found = evidently_report(reference, current, path)
    said, came = found.pop(PREDICTION, None), found.pop(TARGET, None)
    pooled = float(np.mean([score["drifted"] for score in found.values()])) if found else 0.0
    windows = history.read_windows()
    seen = windows.time_of(history.read_json("split")["train"][1])
    judged = shifted_signals(windows, last_training(scope) or seen)
    lasting = moved(judged)
    missing = {name: float(frame[list(found)].isna().mean().mean()) for name, frame in _named(reference, current)}
    summary = {
        "namespace": scope.namespace, "drifted_share": round(pooled, 4), "features": len(found),
        "model": scorer.version, "moved": {name: round(shift, 4) for name, shift in lasting.items()},
        "signals_judged": len(judged), "data_to": windows.time_of(windows.cells.shape[1]).isoformat(),
        "prediction_drift": said and round(said["score"], 4), "target_drift": came and round(came["score"], 4),
        "missing_share": round(missing["current"], 4),
    }  # fmt: skip
    summary["told"] = str(DriftReport(datetime.now(UTC), pooled, lasting))
    record_report(scope, "drift", path, summary)
    surest = sorted(judged.items(), key=lambda item: item[1].chance)
    context.log.info("%.0f %% of the features drifted; %d of %d signals moved", 100 * pooled, len(lasting), len(judged))
    ranked = sorted(found.items(), key=lambda item: -item[1]["score"])
    means = [
        (name, float(reference[name].mean()), float(current[name].mean()), score["score"], score["drifted"])
        for name, score in ((PREDICTION, said), (TARGET, came))
        if score is not None
    ]
    return dg.MaterializeResult(
        metadata={
            "drifted share": pooled,
            "signals that moved": len(lasting),
            "signals": table(
                ["signal", "usual level", "moved by", "by chance (p)"],
                [(name, one.level, one.shift, one.chance) for name, one in surest[:15]],
            ),
            "reference rows": len(reference),
            "current rows": len(current),
            "model": scorer.version,
            "predictions and what came": table(["column", "then", "now", "distance", "drifted"], means),
            "missing": table(["rows", "share of the values"], missing.items()),
            "features": table(
                ["feature", "distance", "drifted"], [(n, s["score"], s["drifted"]) for n, s in ranked[:15]]
            ),
            "report": dg.MetadataValue.path(str(path)),
        }
    )


def compared_rows(history: History) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All features, and what came within the paging horizon (NaN where that is not known), of the training interval
    and of the newest day of event time, sampled."""
    windows, split = history.read_windows(), history.read_json("split")
    keys = history.read_features(["series_id", "event_timestamp"])
    times = keys.column("event_timestamp")
    newest = pc.max(times).as_py()
    day = pc.greater(times, pd.Timestamp(newest) - pd.Timedelta(days=1))
    trained = pc.less(times, windows.time_of(split["train"][1]))
    rng = np.random.default_rng(SEED)
    labels = history.read_table("incident_labels").select(["series_id", "event_timestamp", "steps", "observed"])
    target, features = labels.to_pandas(), history.read_features()

    def sampled(mask: Any) -> pd.DataFrame:
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        keep = np.sort(rng.permutation(rows)[:MOST_ROWS])
        frame = features.take(keep).to_pandas().merge(target, on=["series_id", "event_timestamp"], how="left")
        known, came = known_outcome(frame["steps"].to_numpy(), frame["observed"].to_numpy(), _HORIZON)
        frame[TARGET] = np.where(known, came.astype(float), np.nan)
        return frame.drop(columns=["series_id", "event_timestamp", "steps", "observed"])

    return sampled(trained), sampled(day)


def last_training(scope: TrainingScope) -> datetime | None:
    """Up to where the newest version has seen data of this namespace: what came after it is no reference, or a change
    would hide itself as soon as it reaches into the training interval of a longer history."""
    with psycopg.connect(scope.postgres_url) as connection:
        query = "select max(data_to) from model_versions where trained_on ->> 'namespace' = %s"
        row = connection.execute(query, (scope.namespace,)).fetchone()
    return row[0] if row else None


def serving_scorer(scope: TrainingScope) -> Scorer:
    """What serves: the champion, and where there is none that can be loaded, the first-day model."""
    with psycopg.connect(scope.postgres_url) as connection:
        row = connection.execute("select version from model_versions where stage = 'champion'").fetchone()
    try:
        return load_bundle(model_store.get(row[0]).path).scorer() if row else FirstDayScorer()
    except BundleError:
        return FirstDayScorer()


def _with_prediction(frame: pd.DataFrame, scorer: Scorer) -> pd.DataFrame:
    """The columns that are compared."""
    said = score(scorer, frame[list(FEATURE_NAMES)].to_numpy(np.float64)).probability
    return frame[_COMPARED].assign(**{PREDICTION: said, TARGET: frame[TARGET]})


def _named(reference: pd.DataFrame, current: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [("reference", reference), ("current", current)]


def evidently_report(reference: pd.DataFrame, current: pd.DataFrame, path: Path) -> dict[str, dict[str, Any]]:
    """Write Evidently's page; returns {column: {"score": distance, "drifted": bool}} of what has values on both
    sides."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ConstantColumnsCount, DatasetMissingValueCount, EmptyColumnsCount
    from evidently.presets import DataDriftPreset

    there = [c for c in reference.columns if reference[c].notna().any() and current[c].notna().any()]
    definition = DataDefinition(numerical_columns=there)
    data = (Dataset.from_pandas(frame[there], data_definition=definition) for frame in (current, reference))
    drift = DataDriftPreset(num_method="wasserstein", num_threshold=MOST_DISTANCE)
    quality = [DatasetMissingValueCount(), ConstantColumnsCount(), EmptyColumnsCount()]
    result = Report([drift, *quality]).run(*data)
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_html(str(path))
    found = {}
    for metric in result.dict()["metrics"]:
        column = metric.get("config", {}).get("column")
        if column and isinstance(metric["value"], int | float):
            distance = float(metric["value"])
            found[column] = {"score": distance, "drifted": distance >= MOST_DISTANCE}
    return found


@dg.asset_check(asset=drift_report, description="Less than 40 % of the features and no signal moved.")
def features_have_not_drifted(context: dg.AssetCheckExecutionContext, scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: whether to train again is the retraining sensor's decision."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey("drift_report"))
    materialization = event.asset_materialization if event else None
    known = materialization.metadata if materialization else {}
    share, signals = (
        float(known[k].value) if k in known else float("nan") for k in ("drifted share", "signals that moved")
    )
    return dg.AssetCheckResult(
        passed=share < DRIFTED_SHARE and signals == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"drifted share": share, "signals that moved": signals},
    )


@dg.asset_check(asset=drift_report, description="The newest day misses no more values than the training interval did.")
def the_newest_day_is_as_complete(scope: TrainingScope) -> dg.AssetCheckResult:
    """By ten points of the share of missing values at most."""
    reference, current = compared_rows(scope.history())
    then, now = (float(frame[_COMPARED].isna().mean().mean()) for frame in (reference, current))
    return dg.AssetCheckResult(
        passed=now <= then + 0.1,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missing then": then, "missing now": now},
    )

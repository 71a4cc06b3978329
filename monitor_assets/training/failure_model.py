"""The model of whether and when a signal reaches its limit."""

import json
import time
from dataclasses import asdict

import dagster as dg
import numpy as np
import pyarrow as pa

from forewarn.classification.hazard import HazardModel
from forewarn.evaluation.model_metrics import EventMetrics
from forewarn.evaluation.split import Part
from forewarn.evaluation.training import FailureModel, Sample, learn_failures
from forewarn.features.definitions import FEATURE_VERSION
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk.scorer import Scorer, score
from monitor_assets.history import History
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope
from monitor_assets.training.parts import matrix, stretch_of
from monitor_assets.training.simulated_incidents import NAME as SIMULATED
from monitor_assets.training.simulated_incidents import simulated_incidents
from monitor_assets.training.training_set import INVERSE, training_set

NAME = "failure_model"
BUDGET_SECONDS = 0.05  # of the predictor's 10 ms goal on a free machine, with room for a busy one


@dg.asset(deps=[training_set, simulated_incidents], group_name="training", kinds={"lightgbm"}, owners=["team:forewarn"])
def failure_model(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """A discrete-time hazard (whether) and quantile regression (when), by LightGBM, calibrated on later data.

    It learns from the namespace's own history and from simulated incidents. Calibration, and the probability from
    which on a risk is told, come from own rows that the model had not seen. The test interval is not read.
    """
    history = scope.history()
    windows = history.read_windows()
    rows = history.read_table("training_set")
    split = history.read_json("split")
    past, calibration = (stretch_of(history, windows, Part(*split[name])) for name in ("train", "calibration"))
    began = time.perf_counter()
    try:
        simulated = _sample_of(history.read_table(f"{SIMULATED}_{FEATURE_VERSION}"))
        train, later = _sample(rows, "train"), _sample(rows, "calibration")
        model = learn_failures(train, later, past, calibration, simulated)
    except ValueError as error:
        raise dg.Failure(f"{error}. Until there is more history the first-day trend goes on serving.") from error
    seconds = time.perf_counter() - began
    save(history, model)
    context.log.info("learned in %.1f s, threshold %.2f", seconds, model.threshold)
    gain = model.hazard.booster.feature_importance("gain")
    names = model.hazard.booster.feature_name()
    order = np.argsort(-gain)[:12]
    return dg.MaterializeResult(
        metadata={
            "rows": rows.num_rows,
            "seconds": round(seconds, 2),
            "threshold": model.threshold,
            "trees": model.hazard.booster.num_trees(),
            "calibration": table(
                ["horizon (steps)", "slope", "intercept"],
                zip(model.hazard.horizons, model.hazard.slope, model.hazard.intercept, strict=True),
            ),
            "on blocks that a model had not seen": table(
                ["method", "incidents", "predicted", "pages", "true", "F1"],
                (
                    (name, m.incidents, m.predicted_incidents, m.pages, m.true_pages, m.f1)
                    for name, m in model.unseen.items()
                ),
            ),
            "learned from most": table(["feature", "share of gain"], [(names[i], gain[i] / gain.sum()) for i in order]),
        }
    )


def save(history: History, model: FailureModel) -> None:
    """Keep a model until it is put into a bundle."""
    folder = history.model_folder(NAME, fresh=True)
    model.hazard.save(folder / "hazard")
    model.time.save(folder / "time")
    (folder / "threshold.json").write_text(json.dumps(model.threshold))
    (folder / "unseen.json").write_text(json.dumps({name: asdict(events) for name, events in model.unseen.items()}))


def load(history: History) -> FailureModel:
    """What `save` kept."""
    folder = history.model_folder(NAME)
    threshold = json.loads((folder / "threshold.json").read_text())
    hazard, time_model = HazardModel.load(folder / "hazard"), TimeToFailureModel.load(folder / "time")
    unseen = json.loads((folder / "unseen.json").read_text())
    return FailureModel(hazard, time_model, threshold, {name: EventMetrics(**m) for name, m in unseen.items()})


def _sample(rows: pa.Table, part: str) -> Sample:
    return _sample_of(rows.filter(pa.array(np.array(rows.column("part").to_pylist()) == part)))


def _sample_of(own: pa.Table) -> Sample:
    at, steps, observed, weight = (own.column(name).to_numpy() for name in ("cell", "steps", "observed", "weight"))
    there = set(INVERSE) <= set(own.column_names)
    inverse = np.column_stack([own.column(name).to_numpy() for name in INVERSE]) if there else None
    return Sample.of(matrix(own), at, steps, observed, weight, inverse)


@dg.asset_check(
    asset=failure_model, blocking=True, description=f"One row is scored within {BUDGET_SECONDS * 1000:.0f} ms (median)."
)
def the_model_keeps_its_latency_budget(scope: TrainingScope) -> dg.AssetCheckResult:
    """As the predictor scores; the median of 50 scorings, for a busy machine says little about single ones. A thousand
    rows are timed beside it."""
    history = scope.history()
    scorer = load(history).scorer("candidate")
    rows = matrix(history.read_table("training_set"))
    many = np.resize(rows, (1000, rows.shape[1]))
    score(scorer, rows[:1])  # the first loads what is loaded once
    one, thousand = ([_seconds(scorer, part) for _ in range(n)] for part, n in ((rows[:1], 50), (many, 3)))
    return dg.AssetCheckResult(
        passed=float(np.median(one)) <= BUDGET_SECONDS,
        metadata={
            "one row, median (ms)": 1000 * float(np.median(one)),
            "one row, 95 % (ms)": 1000 * float(np.quantile(one, 0.95)),
            "1,000 rows, median (ms)": 1000 * float(np.median(thousand)),
        },
    )


def _seconds(scorer: Scorer, rows: np.ndarray) -> float:
    began = time.perf_counter()
    score(scorer, rows)
    return time.perf_counter() - began

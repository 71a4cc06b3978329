"""What is usual, for signals far from any failure."""

import dagster as dg
import numpy as np

from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.scorer import PAGING_HORIZON
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope
from monitor_assets.training.parts import matrix
from monitor_assets.training.training_set import training_set

NAME = "anomaly_model"


@dg.asset(deps=[training_set], group_name="training", kinds={"scikitlearn"}, owners=["team:forewarn"])
def anomaly_model(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """An Isolation Forest over rows that no failure follows within the paging horizon."""
    history = scope.history()
    rows = history.read_table("training_set")
    X, steps = matrix(rows), rows.column("steps").to_numpy()
    part = np.array(rows.column("part").to_pylist())
    healthy = steps > HORIZON_STEPS[PAGING_HORIZON]
    detector = IsolationForestDetector()
    detector.learn(X[healthy & (part == "train")])
    detector.save(history.model_folder(NAME, fresh=True))
    later = part == "calibration"
    shares = [
        (name, int(m.sum()), float((detector.p_value(detector.score(X[m])) <= 0.01).mean()) if m.any() else None)
        for name, m in (("healthy", later & healthy), ("before a failure", later & ~healthy))
    ]
    context.log.info("learned from %d rows", int((healthy & (part == "train")).sum()))
    return dg.MaterializeResult(
        metadata={
            "rows": int((healthy & (part == "train")).sum()),
            "on later rows": table(["rows that are", "number", "share with p ≤ 0.01"], shares),
        }
    )

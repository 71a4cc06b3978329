"""Holds a scorer and the simple methods against a held-out stretch of history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.model_metrics import (
    WARNING_STEPS,
    EventMetrics,
    brier,
    event_metrics,
    interval_coverage,
    known_outcome,
    log_loss,
    onsets_of,
    together,
    warnings_of,
)
from forewarn.evaluation.promotion import Standing
from forewarn.evaluation.related import Related
from forewarn.evaluation.split import Part
from forewarn.features.definitions import HORIZON_STEPS, INDEX
from forewarn.forecasting.time_to_failure import weighted_quantile
from forewarn.forecasting.trend import predict_linear_steps
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, Scores, score

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

STATIC_RATIO = 0.9
FIRST_DAY = "first_day_trend"


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of history: features [n, F] of `n` rows (row[i] of S series, scored at cell at[i]) and what came.

    steps, observed: float64 [n], see `forewarn.features.labels.time_to_limit`. failing: bool [S, C].
    acted: for each series the cells at which someone acted on a warning; none without. related: which series may be
    one incident; all without.
    """

    part: Part
    features: F64
    row: I64
    at: I64
    steps: F64
    observed: F64
    failing: NDArray[np.bool_]
    acted: tuple[I64, ...] | None = None
    related: Related | None = None

    @property
    def onsets(self) -> list[I64]:
        """Cells in which failures begin, for each series."""
        return onsets_of(self.failing, self.part.first, self.part.stop)

    def matrix(self, probability: F64) -> tuple[F64, I64]:
        """Probabilities [n] as [S, M] over the M times there are; NaN where a series has no row."""
        times, column = np.unique(self.at, return_inverse=True)
        matrix = np.full((len(self.failing), len(times)), np.nan)
        matrix[self.row, column] = probability
        return matrix, times

    def told(self, probability: F64, threshold: float) -> NDArray[np.bool_]:
        """bool [n]: rows of which it is told that they fail, and that do within the paging horizon."""
        soon = (self.steps > 0) & (self.steps <= HORIZON_STEPS[PAGING_HORIZON])
        return np.asarray(soon & (probability >= threshold))

    def failure_weight(self, rows: NDArray[np.bool_]) -> F64:
        """Weights of some rows that a failure follows, by which every failure counts the same."""
        failures = np.column_stack([self.row[rows], np.round(self.at[rows] + self.steps[rows])])
        _, which, count = np.unique(failures, axis=0, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / count[which.ravel()])

    def told_coverage(self, scores: Scores, threshold: float) -> dict[str, float]:
        """`interval_coverage` of the rows that are told, every failure counting the same."""
        rows = self.told(scores.probability, threshold)
        edges = HORIZON_STEPS[: PAGING_HORIZON + 1]
        return interval_coverage(scores.quantiles[rows], self.steps[rows], edges, self.failure_weight(rows))

    def events(self, probability: F64, threshold: float) -> EventMetrics:
        """Warnings at a threshold held against what failed."""
        matrix, times = self.matrix(probability)
        told = warnings_of(matrix, times, threshold)
        return event_metrics(told, self.onsets, self.part.stop, self.failing, self.acted, self.related)

    def within(self, part: Part) -> "Stretch":
        """The rows of a shorter part."""
        own = part.holds(self.at)
        columns = (self.features[own], self.row[own], self.at[own], self.steps[own], self.observed[own])
        return Stretch(part, *columns, self.failing, self.acted, self.related)


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a scorer and the simple methods reached on the same stretch.

    events, brier: by method ('model', 'predict_linear', …). horizons: one row of scores a horizon. coverage: of the
    80 % interval of the time to failure where it was told, by how far off the failure was; every failure counts the
    same.
    """

    version: str
    days: float
    events: dict[str, EventMetrics]
    brier: dict[str, float]
    horizons: list[dict[str, float]]
    coverage: dict[str, float]
    median_error: float  # of the median time to failure there, as a share of the true time

    def metrics(self) -> dict[str, Any]:
        """`{metric: {"value": …, "baselines": {method: …}}}` as the registry keeps it; NaN becomes None."""
        by_event: dict[str, Callable[[EventMetrics], float]] = {
            "recall": lambda m: m.recall,
            "precision": lambda m: m.precision,
            "f1": lambda m: m.f1,
            "signal_recall": lambda m: m.signal_recall,
            "signals_failed": lambda m: m.failures,
            "signals_told": lambda m: m.warnings,
            "median_lead_steps": lambda m: m.median_lead,
            "signal_precision": lambda m: m.signal_precision,
            "false_pages_per_day": lambda m: m.false_pages / self.days,
        }
        found = {name: _beside({k: f(m) for k, m in self.events.items()}) for name, f in by_event.items()}
        found["brier_6h"] = _beside(self.brier)
        found["coverage_80"] = _beside({"model": self.coverage["all"], "nominal": 0.8})
        found["median_error_of_time"] = _beside({"model": self.median_error})
        return found

    def standing(self, unseen: Mapping[str, EventMetrics] | None = None) -> Standing:
        """What promotion asks. `unseen`: events by method on more of the history, which count as those of the test
        stretch do; the Brier score is that of the test stretch alone."""
        events = {k: together([m, unseen[k]]) for k, m in self.events.items() if k in unseen} if unseen else self.events
        model = events["model"]
        simple = {k: m.early_f1 for k, m in events.items() if k != "model"}
        best = max(simple, key=lambda k: simple[k])
        recall, early, precision = np.nan_to_num([model.recall, model.early_recall, model.precision]).tolist()
        rate, score = self.brier["base_rate"], self.brier["model"]
        return Standing(
            self.version, model.incidents, recall, precision, score, rate, simple[best], best, early_recall=early
        )


def simple_methods(stretch: Stretch) -> dict[str, tuple[F64, float]]:
    """What needs no training: for each method a probability of each row, and the threshold from which on it tells."""
    first_day = FirstDayScorer()
    return {
        "predict_linear": ((predict_linear_steps(stretch.features) <= WARNING_STEPS).astype(np.float64), 0.5),
        "static_90": ((stretch.features[:, INDEX["ratio"]] >= STATIC_RATIO).astype(np.float64), 0.5),
        FIRST_DAY: (score(first_day, stretch.features).probability, first_day.threshold),
    }


def backtest(scorer: Scorer, stretch: Stretch) -> Backtest:
    """Score every row of the stretch and hold the scores against what came."""
    scores = score(scorer, stretch.features)
    methods = {"model": (scores.probability, scorer.threshold), **simple_methods(stretch)}
    if scorer.version == FirstDayScorer().version:
        del methods[FIRST_DAY]
    known, failed = known_outcome(stretch.steps, stretch.observed, HORIZON_STEPS[PAGING_HORIZON])
    briers = {name: brier(p[known], failed[known]) for name, (p, _) in methods.items()}
    briers["base_rate"] = brier(np.full(known.sum(), failed[known].mean() if known.any() else 0.0), failed[known])
    told = stretch.told(scores.probability, scorer.threshold)
    came = stretch.steps[told]
    error = np.abs(scores.quantiles[told, 1] - came) / came
    return Backtest(
        version=scorer.version,
        days=(stretch.part.stop - stretch.part.first) / 1440,
        events={name: stretch.events(p, threshold) for name, (p, threshold) in methods.items()},
        brier=briers,
        horizons=[_at_horizon(1.0 - scores.survival[:, h], stretch, steps) for h, steps in enumerate(HORIZON_STEPS)],
        coverage=stretch.told_coverage(scores, scorer.threshold),
        median_error=weighted_quantile(error, stretch.failure_weight(told), 0.5) if len(error) else float("nan"),
    )


def _at_horizon(probability: F64, stretch: Stretch, steps: int) -> dict[str, float]:
    known, failed = known_outcome(stretch.steps, stretch.observed, steps)
    p, outcome = probability[known], failed[known]
    rate = np.full(len(p), outcome.mean() if len(p) else 0.0)
    return {
        "steps": steps,
        "rows": float(len(p)),
        "failed_share": float(rate[0]) if len(p) else float("nan"),
        "brier": brier(p, outcome),
        "brier_base_rate": brier(rate, outcome),
        "log_loss": log_loss(p, outcome),
        "log_loss_base_rate": log_loss(rate, outcome),
    }


def _beside(values: dict[str, float]) -> dict[str, Any]:
    told = {k: None if np.isnan(v) else round(float(v), 6) for k, v in values.items()}
    return {"value": told.pop("model"), "baselines": told}

"""Whether probabilities and intervals are honest: on held-out time, and in the ledger."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import psycopg

from forewarn.evaluation.backtest import Stretch
from forewarn.evaluation.model_metrics import known_outcome
from forewarn.evaluation.reliability import ReliabilityBin, calibration_error, reliability, wilson
from forewarn.evaluation.split import Part
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.scorer import PAGING_HORIZON, Scores, score
from monitor_assets.evaluation.calibration_page import write_page
from monitor_assets.markdown import table
from monitor_assets.registry.reports import record_report
from monitor_assets.scope import TrainingScope
from monitor_assets.training import failure_model as failures
from monitor_assets.training.failure_model import failure_model
from monitor_assets.training.parts import stretch_of

NAME = "calibration_report"
MOST_ERROR = 0.05  # of P(failure within the paging horizon), mean over rows
LEAST_COVERAGE, MOST_COVERAGE = 0.6, 0.95  # of the 80 % interval
_LEDGER = """
select r.mode, r.probability, o.outcome in ('hit', 'late'), o.inside_80
from outcomes o join risks r using (risk_id)
where r.state = 'open' and o.outcome <> 'averted'
  and case when %(ns)s = '' then strpos(r.entity, '/') = 0 else starts_with(r.entity, %(ns)s || '/') end
"""


@dataclass(frozen=True, slots=True)
class ModeCalibration:
    """Of the predictions about one failure mode: how many, mean probability, share that came true within
    [lower, upper], and how often the failure lay in the 80 % interval (NaN where none came)."""

    mode: str
    count: int
    said: float
    came: float
    lower: float
    upper: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """horizons: steps -> bins on held-out rows; modes: the paging horizon by mode, there; ledger: first predictions
    of resolved episodes in bins, and by mode. What someone acted upon is left out."""

    horizons: dict[int, list[ReliabilityBin]]
    modes: list[ModeCalibration]
    ledger: list[ReliabilityBin]
    ledger_modes: list[ModeCalibration]
    coverage: float  # of the 80 % interval on held-out rows where it was told; every failure counts the same

    @property
    def error(self) -> float:
        """Calibration error at the paging horizon."""
        return calibration_error(self.horizons[HORIZON_STEPS[PAGING_HORIZON]])


@dg.asset(deps=[failure_model], group_name="evaluation", kinds={"matplotlib", "postgres"}, owners=["team:forewarn"])
def calibration_report(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Reliability for each horizon and coverage of the intervals that are told, by failure mode, on the test interval
    by the model just trained; beside it what became of the risks that were told. An HTML report."""
    history = scope.history()
    windows = history.read_windows()
    stretch = stretch_of(history, windows, Part(*history.read_json("split")["test"]))
    modes = np.array([failure_mode(windows.series[i].signal).mode for i in windows.limited])
    scorer = failures.load(history).scorer("candidate")
    found = calibration_of(score(scorer, stretch.features), scorer.threshold, stretch, modes, told_rows(scope))
    path = scope.home / "reports" / f"calibration-{scope.namespace or '_'}-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    write_page(path, scope.namespace, found)
    summary = {"error_6h": _rounded(found.error), "coverage_80": _rounded(found.coverage)}
    history.write_json(NAME, {**summary, "modes": [asdict(m) for m in found.modes]})
    told = sum(b.count for b in found.ledger)
    record_report(scope, "calibration", path, {"namespace": scope.namespace, **summary, "resolved": told})
    context.log.info("calibration error %.3f, coverage %.2f, %d told", found.error, found.coverage, told)
    rows = [(steps, sum(b.count for b in bins), calibration_error(bins)) for steps, bins in found.horizons.items()]
    header = ["mode", "predictions", "said", "came true", "from", "to", "inside 80 %"]
    return dg.MaterializeResult(
        metadata={
            "calibration error at the paging horizon": found.error,
            "coverage of the 80 % interval": found.coverage,
            "horizons": table(["steps", "rows", "calibration error"], rows),
            "modes on held-out time": table(header, (list(asdict(m).values()) for m in found.modes)),
            "modes in the ledger": table(header, (list(asdict(m).values()) for m in found.ledger_modes)),
            "report": dg.MetadataValue.path(str(path)),
            "report page": dg.MetadataValue.url(f"{scope.settings().public_url}/models"),
        }
    )


Told = tuple[str, float, bool, bool | None]  # mode, probability, came true, inside the 80 % interval


def told_rows(scope: TrainingScope) -> list[Told]:
    """First predictions of episodes that are resolved."""
    with psycopg.connect(scope.postgres_url) as connection:
        return connection.execute(_LEDGER, {"ns": scope.namespace}).fetchall()


def calibration_of(
    scores: Scores, threshold: float, stretch: Stretch, modes: np.ndarray, told: list[Told]
) -> Calibration:
    """threshold: of the probability, from which on a risk is told; modes: [S], of each limited series."""
    horizons = {}
    for h, steps in enumerate(HORIZON_STEPS):
        known, came = known_outcome(stretch.steps, stretch.observed, steps)
        horizons[steps] = reliability(1 - scores.survival[known, h], came[known])
    known, came = known_outcome(stretch.steps, stretch.observed, HORIZON_STEPS[PAGING_HORIZON])
    soon = stretch.told(scores.probability, threshold)
    inside = (scores.quantiles[:, 0] <= stretch.steps) & (stretch.steps <= scores.quantiles[:, 2])
    of = modes[stretch.row]
    by_mode = [
        _mode(m, scores.probability[known & (of == m)], came[known & (of == m)], inside[soon & (of == m)])
        for m in np.unique(of[known])
    ]
    p, true = np.array([t[1] for t in told]), np.array([t[2] for t in told], bool)
    names = np.array([t[0] for t in told])
    held = np.array([np.nan if t[3] is None else float(t[3]) for t in told])
    held_in = {m: held[(names == m) & ~np.isnan(held)] for m in np.unique(names)}
    in_ledger = [_mode(m, p[names == m], true[names == m], inside) for m, inside in held_in.items()]
    coverage = stretch.told_coverage(scores, threshold)["all"]
    return Calibration(horizons, by_mode, reliability(p, true) if told else [], in_ledger, coverage)


def _mode(mode: str, probability: np.ndarray, came: np.ndarray, inside: np.ndarray) -> ModeCalibration:
    lower, upper = wilson(int(came.sum()), len(came))
    share = float(inside.mean()) if len(inside) else float("nan")
    return ModeCalibration(str(mode), len(came), float(probability.mean()), float(came.mean()), lower, upper, share)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


@dg.asset_check(asset=calibration_report, description=f"Said and came differ by {MOST_ERROR:.0%} at most, on average.")
def probabilities_are_calibrated(scope: TrainingScope) -> dg.AssetCheckResult:
    """At the paging horizon on held-out rows."""
    error = scope.history().read_json(NAME)["error_6h"]
    return dg.AssetCheckResult(
        passed=error is not None and error <= MOST_ERROR,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"calibration error": error if error is not None else float("nan")},
    )


@dg.asset_check(
    asset=calibration_report,
    description=f"The 80 % interval holds {LEAST_COVERAGE:.0%} to {MOST_COVERAGE:.0%} of the failures.",
)
def intervals_hold_what_they_promise(scope: TrainingScope) -> dg.AssetCheckResult:
    """On held-out rows of which a time would have been told, and that a failure followed."""
    share: Any = scope.history().read_json(NAME)["coverage_80"]
    return dg.AssetCheckResult(
        passed=share is None or LEAST_COVERAGE <= share <= MOST_COVERAGE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share inside": share if share is not None else float("nan")},
        description="no failure to look at" if share is None else None,
    )

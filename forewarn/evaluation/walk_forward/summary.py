"""Outcomes of many recordings as one set of figures for each method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forewarn.evaluation.walk_forward.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what it is called, and the range that is wanted."""

    key: str
    title: str
    low: float
    high: float = np.inf


GOALS = (
    Goal("recall", "failures predicted early enough", 0.95),
    Goal("precision", "share of the pages that were right", 0.95),
    Goal("median_lead_share", "median share of the possible lead", 0.60),
    Goal("false_pages", "pages on look-alikes", 0, 0),
    Goal("look_alikes_paged", "look-alikes with a page", 0, 0),
    Goal("coverage_80", "coverage of the 80 % interval", 0.75, 0.85),
    Goal("eta_error_median", "median error of the time at half of the lead", 0, 0.25),
    Goal("cause_top1", "cause named first", 0.90),
    Goal("cause_top3", "cause among the first three", 0.90),
)


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures over recordings; None where nothing failed or nothing was told.

    Coverage is the mean over runs, so that a long run does not count more. Causes are counted over all failures
    that a right page named before they came, at any lead.
    """
    failed = [o for o in outcomes if o.failed]
    quiet = [o for o in outcomes if not o.failed]
    told = [o for o in failed if o.right_pages]
    pages = sum(o.pages for o in outcomes)
    return {
        "runs": len(outcomes),
        "failures": len(failed),
        "look_alikes": len(quiet),
        "predicted": sum(o.predicted for o in failed),
        "recall": _mean([o.predicted for o in failed]),
        "pages": pages,
        "precision": sum(o.right_pages for o in failed) / pages if pages else None,
        "run_precision": _ratio(sum(o.predicted for o in failed), sum(o.pages > 0 for o in quiet)),
        "median_lead_share": _median([o.lead_share for o in failed]),
        "median_lead_seconds": _median([o.lead for o in failed if o.predicted]),
        "false_pages": sum(o.pages for o in quiet),
        "look_alikes_paged": sum(o.pages > 0 for o in quiet),
        "coverage_80": _mean([o.covered for o in told]),
        "eta_error_median": _median([o.eta_error for o in told]),
        "cause_top1": _mean([o.cause_rank == 1 for o in told]),
        "cause_top3": _mean([1 <= o.cause_rank <= 3 for o in told]),
    }


def by_mode(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """The same for the failures of each mode."""
    modes = sorted({o.mode for o in outcomes if o.failed})
    return {mode: summarise([o for o in outcomes if o.mode == mode]) for mode in modes}


def _ratio(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def _mean(values: Sequence[float]) -> float | None:
    known = [float(v) for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else None


def _median(values: Sequence[float]) -> float | None:
    known = [float(v) for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else None

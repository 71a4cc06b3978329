"""Keeps false pages within the budget while the world drifts: the threshold rises with what turned out false.

After each look at the resolved predictions the raise of the threshold (in log-odds) grows by `gain × (false pages -
pages the budget allowed)` and is kept between 0 and MOST. What was false beyond the budget is therefore at most
MOST / gain pages in any stretch of time however the world changes, without a model of it: Robbins and Monro 1951, as in
adaptive conformal inference (Gibbs and Candès 2021, 'Adaptive conformal inference under distribution shift').
It never falls below the threshold that training chose: a budget is a limit, nothing to be spent.
"""

from dataclasses import dataclass

import numpy as np

from forewarn.detection.false_alarm_budget import WEEK, FalseAlarmBudget
from forewarn.risk.paging_threshold import raised_threshold

MOST = 5.0  # log-odds; a threshold of 0.3 is then 0.985
GAIN = 0.3  # of one false page too many, where the budget allows one a week


@dataclass(frozen=True, slots=True)
class AlarmControl:
    """raised: log-odds by which the threshold lies above the model's own."""

    raised: float = 0.0

    def threshold(self, own: float) -> float:
        """The threshold to page at, of a model whose own threshold is `own`."""
        return raised_threshold(own, self.raised)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen since the last look: false pages (expired or dismissed; what someone acted upon is neither), and
    the time that services were watched, summed over them. services: how many there are."""

    false_pages: int
    service_seconds: float
    services: int


def controlled(control: AlarmControl, seen: Watched, budget: FalseAlarmBudget) -> AlarmControl:
    """The control after one more look. Larger fleets get a smaller gain, since their pages are more (and steadier)."""
    weekly = budget.allowed(seen.services * WEEK)
    gain = GAIN / max(weekly, 1.0) ** 0.5
    excess = seen.false_pages - budget.allowed(seen.service_seconds)
    return AlarmControl(float(np.clip(control.raised + gain * excess, 0.0, MOST)))

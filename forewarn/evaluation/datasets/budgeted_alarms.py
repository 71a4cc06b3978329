"""What a user would have been told: alarms at a threshold set from the training part by a budget said in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import AnomalyDetector
from forewarn.detection.false_alarm_budget import EXAMPLE, WEEK, FalseAlarmBudget, threshold_for
from forewarn.evaluation.datasets.vus_pr import segments

Floats = NDArray[np.float64]

GAP_SECONDS = 3600.0  # alarms within an hour are one
HELD_OUT = 0.25


def held_out_scores(detector: AnomalyDetector, train: Floats) -> Floats:
    """Scores of the last quarter of `train` by the detector, learned on what comes before it."""
    early = round(len(train) * (1 - HELD_OUT))
    detector.learn(train[:early])
    return detector.score(train)[early:]


def alarms_at_budget(
    usual: Floats, scores: Floats, label: Floats, step_seconds: float, words: str = EXAMPLE
) -> Mapping[str, float]:
    """`false_per_week`: episodes that touch no labelled event, per week of unlabelled time; `found`: share of events
    that an alarm falls into. The threshold comes from `usual` alone. An hour around an event counts as the event."""
    gap = max(round(GAP_SECONDS / step_seconds), 1)
    threshold = threshold_for([usual], step_seconds, FalseAlarmBudget.parse(words), gap)
    above = scores > threshold
    events = segments(label)
    near = np.zeros(len(label), dtype=bool)
    for start, end in events:
        near[max(start - gap, 0) : end + gap + 1] = True
    false_alarms = _episodes(np.flatnonzero(above & ~near), gap)
    weeks = float((~near).sum()) * step_seconds / WEEK
    found = [bool(above[start : end + 1].any()) for start, end in events]
    return {"false_per_week": false_alarms / max(weeks, 1e-9), "found": float(np.mean(found))}


def _episodes(rows: NDArray[Any], gap: int) -> int:
    return 0 if len(rows) == 0 else 1 + int((np.diff(rows) > gap).sum())

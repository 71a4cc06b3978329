"""How many false alarms a user accepts, said in words, and the threshold that keeps to it.

The budget counts episodes, since a page is one however long it stays red: scores above the threshold that follow each
other within `gap` are one episode. Autocorrelated scores cross a threshold in clusters, so a threshold from a quantile
of samples would be far too high; here episodes of usual rows are counted.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEEK = 7 * 86_400.0
NUMBERS: dict[str, float] = {
    "no": 0,
    "zero": 0,
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
}
NUMBERS |= {"seven": 7, "eight": 8, "nine": 9, "ten": 10, "half a": 0.5}
PERIODS = {"hour": 3600.0, "day": 86_400.0, "week": WEEK, "month": 365.25 / 12 * 86_400, "quarter": 365.25 / 4 * 86_400}
PERIODS |= {"year": 365.25 * 86_400}
ENTITIES = "service|entity|host|pod|machine|node|database|server"
_COUNT = "|".join([r"\d+(?:\.\d+)?", *sorted(NUMBERS, key=len, reverse=True)])
_PERIOD = "|".join(PERIODS)
_WORDS = re.compile(
    rf"(?:at most |up to )?(?P<count>{_COUNT})\s+(?:false\s+)?(?:page|alarm|alert|warning)s?"
    rf"(?:\s+(?:per|a|an|each|for each|and)\s+(?:(?P<entities>\d+)\s+)?(?P<entity>{ENTITIES})(?:s|ies)?)?"
    rf"\s+(?:per|a|an|each|every|and|in)\s+(?:(?P<periods>{_COUNT})\s+)?(?P<period>{_PERIOD})s?"
    rf"(?:\s+(?:per|and|for each|each)\s+(?:(?P<entities_last>\d+)\s+)?(?P<entity_last>{ENTITIES})(?:s|ies)?)?\.?"
)
EXAMPLE = "one false page per service and week"


@dataclass(frozen=True, slots=True)
class FalseAlarmBudget:
    """`per_entity_week`: episodes without a cause that one entity may open in a week, on average."""

    per_entity_week: float

    @classmethod
    def parse(cls, words: str) -> "FalseAlarmBudget":
        """Read words like 'one false page per service and week', '2 alarms per 10 hosts and month', 'two a day' not.

        Raises ValueError, with an example, where the words name no count, no entity or no period.
        """
        match = _WORDS.fullmatch(" ".join(words.lower().split()))
        if match is None or not (match["entity"] or match["entity_last"]):
            raise ValueError(f"{words!r} is no budget of false alarms: write it like '{EXAMPLE}'")
        entities = float(match["entities"] or match["entities_last"] or 1)
        span = PERIODS[match["period"]] * _number(match["periods"] or "1")
        if entities == 0 or span == 0:
            raise ValueError(f"{words!r} divides by zero: write it like '{EXAMPLE}'")
        return cls(_number(match["count"]) / entities * WEEK / span)

    def allowed(self, entity_seconds: float) -> float:
        """Episodes that the budget allows in so much watched time, summed over entities."""
        return self.per_entity_week * entity_seconds / WEEK


def _number(word: str) -> float:
    return float(NUMBERS[word]) if word in NUMBERS else float(word)


def episode_peaks(scores: NDArray[np.floating[Any]], gap: int) -> Floats:
    """Peaks [k] of `scores` [n] that are more than `gap` rows apart, the highest first.

    A peak closer than `gap` to a higher one belongs to that one's episode. At any threshold, the number of peaks above
    it is the number of episodes that open, or a little more where one episode outlasts `gap` on its way down.
    """
    values = np.asarray(scores, dtype=np.float64)
    free, peaks = np.isfinite(values), []
    for row in np.argsort(-values, kind="stable"):
        if free[row]:
            peaks.append(values[row])
            free[max(row - gap, 0) : row + gap + 1] = False
    return np.asarray(peaks, dtype=np.float64)


def episodes_above(scores: NDArray[np.floating[Any]], threshold: float, gap: int) -> int:
    """How many episodes a threshold opens: crossings that follow each other within `gap` rows are one."""
    rows = np.flatnonzero(np.asarray(scores) > threshold)
    return 0 if len(rows) == 0 else 1 + int((np.diff(rows) > gap).sum())


def threshold_for(usual: "list[Floats]", step_seconds: float, budget: FalseAlarmBudget, gap: int) -> float:
    """The lowest threshold at which the `usual` scores, one array an entity, keep to the budget.

    step_seconds: time between rows. gap: rows that may lie between crossings of one episode. Where the usual rows span
    less time than one allowed episode, the tail of the peaks is continued exponentially (Pickands 1975): the figure is
    then an extrapolation. Raises ValueError without scores.
    """
    seconds = step_seconds * sum(len(scores) for scores in usual)
    if seconds <= 0:
        raise ValueError("a threshold needs scores of usual rows: there are none")
    allowed = budget.allowed(seconds)
    peaks = np.sort(np.concatenate([episode_peaks(scores, gap) for scores in usual]))[::-1]
    if allowed >= 1:
        return _by_counting(usual, peaks, allowed, gap)
    if allowed == 0:
        return float("inf")
    tail = peaks[: max(min(len(peaks), 10, len(peaks) // 4), 2)]
    mean_excess = max(float((tail - tail[-1]).mean()), 1e-12)
    return float(tail[-1] + mean_excess * np.log(len(tail) / allowed))


def _by_counting(usual: "list[Floats]", peaks: Floats, allowed: float, gap: int) -> float:
    """Bisection over the peaks: the count of episodes falls as the threshold rises through them."""
    low, high = 0, min(len(peaks) - 1, 4 * int(allowed) + 4)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(episodes_above(scores, peaks[middle], gap) for scores in usual) <= allowed:
            low = middle
        else:
            high = middle - 1
    return float(peaks[low])

"""What an evaluation of a data set says: its figure, the goal, the baselines beside it, and one row a part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any


class DatasetError(Exception):
    """The folder does not hold what the data set's evaluation reads; the text says what is missing and where."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose."""

    test_from: date | None = None  # smart_disks: everything from this day is test data
    seed: int = 0
    say: Callable[[str], None] = lambda line: None  # progress, one line a part


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """One metric over one data set. `parts` are rows: {"part": name, "value": …, "baselines": {…}, …}."""

    metric: str
    value: float
    baselines: Mapping[str, float]
    parts: Sequence[Mapping[str, Any]] = ()
    unit: str = ""
    goal: float | None = None
    higher_is_better: bool = True
    notes: Sequence[str] = field(default=())  # what was left out and why, what the figure does not say

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.higher_is_better else self.value <= self.goal


def as_json(reports: Sequence[DatasetReport]) -> dict[str, Any]:
    """`{"metric", "value", "baselines", "parts", …}` of the first report; further metrics stand under `more`."""
    first, *others = [_row(report) for report in reports]
    return {**first, "more": others} if others else first


def _row(report: DatasetReport) -> dict[str, Any]:
    return {
        "metric": report.metric,
        "value": report.value,
        "unit": report.unit,
        "goal": report.goal,
        "met": report.met,
        "baselines": dict(report.baselines),
        "parts": [dict(part) for part in report.parts],
        "notes": list(report.notes),
    }

"""Top-1 and top-3 of ranked causes, and the simple methods that they are compared with."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forewarn.evaluation.datasets.report import DatasetReport
from forewarn.incidents.causes.findings import F64

Ranking = Sequence[str]
_Z = "ranked z: "  # names of baselines that begin with this are ways of one method
_BEST_Z = "best ranked z-score"


@dataclass(frozen=True, slots=True)
class Case:
    """One incident: the true cause, our ranking, why, and the rankings of the baselines by name."""

    part: str
    group: str
    cause: str
    ranking: Ranking
    candidates: Sequence[str]
    baselines: Mapping[str, Ranking] = field(default_factory=dict)
    reason: str = ""

    def found(self, ranking: Ranking, k: int) -> bool:
        """Whether the cause is among the first k."""
        return self.cause in ranking[:k]


def reports(cases: Sequence[Case], goals: Mapping[int, float | None], notes: Sequence[str]) -> list[DatasetReport]:
    """Top-1, then top-3, in per cent; for all and by group."""
    return [_report(cases, k, goals[k], notes) for k in (1, 3)]


def z_rankings(usual: Mapping[str, Sequence[F64]], now: Mapping[str, Sequence[F64]], suffix: str) -> dict[str, Ranking]:
    """Entities by how far their signals are from what is usual, in three ways that are common.

    usual, now: values of each signal by entity. The farthest signal counts: mean and standard deviation of the
    worst value, median and MAD of the worst value, and mean and standard deviation of the mean.
    """
    methods: dict[str, Callable[[F64, F64], float]] = {
        "mean and deviation": lambda u, n: float(np.abs(n - u.mean()).max() / max(u.std(), 1e-9)),
        "median and MAD": lambda u, n: float(np.abs(n - np.median(u)).max() / max(_mad(u), 1e-9)),
        "means": lambda u, n: float(abs(n.mean() - u.mean()) / max(u.std(), 1e-9)),
    }
    rankings: dict[str, Ranking] = {}
    for name, method in methods.items():
        scores = {
            entity: max(
                (method(u, n) for u, n in zip(usual[entity], now[entity], strict=True) if len(u) > 2), default=0.0
            )
            for entity in usual
        }
        rankings[f"{_Z}{name}{suffix}"] = by_score(scores)
    return rankings


def by_score(scores: Mapping[str, float]) -> Ranking:
    """Entities from the highest score, those that are equal by name."""
    return sorted(scores, key=lambda entity: (-scores[entity], entity))


def _mad(values: F64) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _report(cases: Sequence[Case], k: int, goal: float | None, notes: Sequence[str]) -> DatasetReport:
    parts = []
    for case in cases:
        value = 100.0 * case.found(case.ranking, k)
        beside = {n: 100.0 * case.found(r, k) for n, r in case.baselines.items() if not n.startswith(_Z)}
        named = {"named": list(case.ranking[:3]), "cause": case.cause, "reason": case.reason}
        parts.append({"part": case.part, "group": case.group, "value": value, "baselines": beside, **named})
    groups = sorted({case.group for case in cases})
    sums = [_sum(f"all of {group}", [c for c in cases if c.group == group], k) for group in groups]
    everything = _sum("all", cases, k)
    return DatasetReport(
        metric=f"root cause top-{k}",
        value=everything["value"],
        baselines=everything["baselines"],
        parts=[*parts, *(sums if len(groups) > 1 else [])],
        unit=" %",
        goal=goal,
        notes=[*notes, _z_note(cases, k)],
    )


def _sum(name: str, cases: Sequence[Case], k: int) -> dict[str, Any]:
    return {"part": name, "value": _share(c.found(c.ranking, k) for c in cases), "baselines": _beside(cases, k)}


def _beside(cases: Sequence[Case], k: int) -> dict[str, float]:
    """Figures of the baselines; of the ranked z-scores, all and then the best."""
    names = [name for name in cases[0].baselines if all(name in c.baselines for c in cases)]
    figures = {name: _share(c.found(c.baselines[name], k) for c in cases) for name in names}
    figures["most frequent of the other incidents"] = _share(_frequent(cases, i, k) for i in range(len(cases)))
    figures["random"] = 100.0 * float(np.mean([min(k / len(c.candidates), 1.0) for c in cases]))
    z_scores = {name: value for name, value in figures.items() if name.startswith(_Z)}
    return {_BEST_Z: max(z_scores.values(), default=0.0), **{n: v for n, v in figures.items() if n not in z_scores}}


def _z_note(cases: Sequence[Case], k: int) -> str:
    names = [name for name in cases[0].baselines if name.startswith(_Z)]
    figures = {name: _share(c.found(c.baselines[name], k) for c in cases) for name in names}
    return f"ranked z-scores, top-{k}: " + "; ".join(
        f"{name.removeprefix(_Z)} {v:.1f} %" for name, v in figures.items()
    )


def _frequent(cases: Sequence[Case], i: int, k: int) -> bool:
    """Whether the most frequent causes of the other incidents of the group hold that of case i."""
    others: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for j, case in enumerate(cases):
        if j != i:
            others[case.group][case.cause] += 1
    return cases[i].cause in [name for name, _ in others[cases[i].group].most_common(k)]


def _share(hits: Iterable[bool]) -> float:
    several = list(hits)
    return 100.0 * float(np.mean(several)) if several else float("nan")

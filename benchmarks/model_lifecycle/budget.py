"""False pages beside the budget while the world drifts: the threshold that training chose, and the controlled one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Result, at_most
from forewarn.detection.false_alarm_budget import EXAMPLE, FalseAlarmBudget
from forewarn.evaluation.alarm_control import AlarmControl, Watched, controlled

SERVICES, WEEKS, SEEDS = 20, 40, 10
HOUR = 3600.0
OWN = 0.3
DRIFTS = ((0, 0.7, 1.0), (8, 3.0, 1.3), (20, 6.0, 1.0), (30, 0.7, 1.0))  # from week on: candidates, spread of log-odds
_FAILURES = 0.15  # of a service and week
_RESOLVED_HOURS = 6


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Peaks of P(failure) in log-odds above the model's own threshold, by hour: what would be told of nothing, and
    before failures."""

    false: list[NDArray[np.float64]]
    true: list[NDArray[np.float64]]


def made(rng: np.random.Generator) -> World:
    """Candidates come at random; the world changes at the weeks of DRIFTS: more noise, with heavier peaks."""
    false, true = [], []
    for hour in range(WEEKS * 168):
        _, per_week, spread = [d for d in DRIFTS if d[0] <= hour / 168][-1]
        count = rng.poisson(per_week * SERVICES / 168)
        false.append(rng.exponential(spread, count))
        true.append(rng.normal(3.0, 1.5, rng.poisson(_FAILURES * SERVICES / 168)))
    return World(false, true)


def lived(world: World, control: bool) -> tuple[NDArray[np.float64], float]:
    """False pages by week, and the share of the failures that was told of. What is told is resolved six hours on."""
    state, budget = AlarmControl(), FalseAlarmBudget.parse(EXAMPLE)
    pages, waiting = np.zeros(WEEKS), np.zeros(WEEKS * 168 + _RESOLVED_HOURS, int)
    told = failures = 0
    for hour in range(WEEKS * 168):
        false = int((world.false[hour] >= state.raised).sum())
        told += int((world.true[hour] >= state.raised).sum())
        failures += len(world.true[hour])
        pages[hour // 168] += false
        waiting[hour + _RESOLVED_HOURS] += false
        if control:
            state = controlled(state, Watched(int(waiting[hour]), SERVICES * HOUR, SERVICES), budget)
    return pages / SERVICES, told / max(failures, 1)


def measure() -> list[Result]:
    """Over all seeds: the mean, and the worst stretch of four weeks after the world has changed for two."""
    worlds = [made(np.random.default_rng([11, seed])) for seed in range(SEEDS)]
    found = {name: [lived(w, control) for w in worlds] for name, control in (("controlled", True), ("fixed", False))}
    rate = {name: np.array([pages for pages, _ in runs]) for name, runs in found.items()}
    recall = {name: float(np.mean([share for _, share in runs])) for name, runs in found.items()}

    def worst(name: str) -> float:
        settled = [w for w in range(WEEKS - 4) if not any(d <= w + 3 and w < d + 2 for d, _, _ in DRIFTS[1:])]
        return float(max(rate[name][:, w : w + 4].mean() for w in settled))

    mean = {name: float(values.mean()) for name, values in rate.items()}
    drifted = slice(DRIFTS[1][0], DRIFTS[3][0])
    note = (
        f"{SERVICES} services, {WEEKS} weeks, {SEEDS} seeds; candidates without a cause rise from {DRIFTS[0][1]:g} to "
        f"{DRIFTS[1][1]:g} and {DRIFTS[2][1]:g} a service and week, and fall again"
    )
    during = {name: float(values[:, drifted].mean()) for name, values in rate.items()}
    unit = "per service and week"

    def beside(values: dict[str, float]) -> dict[str, float]:
        return {"fixed threshold": values["fixed"]}

    return [
        at_most("budget: false pages over all weeks", mean["controlled"], unit, 1.0, baselines=beside(mean), note=note),
        at_most(
            "budget: false pages while the world has drifted", during["controlled"], unit, 1.1,
            baselines=beside(during), note="weeks 8 to 30, the changes included",
        ),
        Result(
            "budget: worst four weeks that begin two weeks after a change or more", worst("controlled"), unit,
            baselines={"fixed threshold": worst("fixed")},
        ),
        Result(
            "budget: failures told of", recall["controlled"], "share", baselines=beside(recall),
            note="what the quiet costs",
        ),
    ]  # fmt: skip

"""How often a shadow is promoted that is no better, and how soon one that is: the verdict on made-up worlds.

Incidents of 6 to 60 correlated rows, ten calm stretches of 24 rows
beside each. The comparison is asked after every incident from the 8th to the 30th, as the sensor asks it.
`FOREWARN_BENCH_WORLDS` (100) makes it smaller.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.report import Result, at_least, at_most
from forewarn.evaluation.lifecycle.bootstrap import F64, I64, Bools, paired_difference
from forewarn.evaluation.lifecycle.shadow import CHANCE, SEED, ShadowPolicy

LAST = 30
CALM = 10
SPREAD = 0.15  # of the mean squared-error difference from incident to incident

Draw = Callable[[np.random.Generator], float]
WORLDS: dict[str, tuple[Draw, str]] = {
    "neither is better": (lambda rng: rng.normal(0, SPREAD), "at most"),
    "a little better mostly, much worse seldom; equal on the whole": (
        lambda rng: SPREAD * (rng.exponential() - 1),
        "told",
    ),
    "better by 0.1 of squared error before incidents": (lambda rng: rng.normal(-0.1, SPREAD), "at least"),
    "better by 0.2 of squared error before incidents": (lambda rng: rng.normal(-0.2, SPREAD), "at least"),
}


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Rows in the order of time; `ends[k]`: rows until the end of incident k."""

    excess: F64
    cluster: I64
    incident: Bools
    ends: I64


def world(rng: np.random.Generator, effect: Draw) -> World:
    """Differences of squared errors, shadow less champion."""
    parts: list[tuple[F64, bool]] = []
    ends = []
    for _ in range(LAST):
        rows = int(rng.integers(6, 60))
        parts.append((effect(rng) + rng.normal(0, 0.1, rows), True))
        for _ in range(CALM):
            level = rng.normal(0, 0.003) * (rng.random() < 0.3)
            parts.append((level + rng.normal(0, 0.002, 24), False))
        ends.append(len(parts))
    lengths = np.array([len(part) for part, _ in parts])
    cluster = np.repeat(np.arange(len(parts)), lengths)
    incident = np.repeat(np.array([incident for _, incident in parts]), lengths)
    return World(np.concatenate([p for p, _ in parts]), cluster, incident, np.cumsum(lengths)[np.array(ends) - 1])


def promoted_after(w: World, least: int) -> int | None:
    """Incidents after which the shadow is better beyond chance; None: never, or it was worse before."""
    for k in range(least, LAST + 1):
        n = w.ends[k - 1]
        d = paired_difference(w.excess[:n], w.cluster[:n], w.incident[:n], CHANCE, SEED)
        if d.better:
            return k
        if d.worse:
            return None
    return None


def measure() -> list[Result]:
    """Shares of promotions at the first look and by the last, and incidents until then."""
    least, worlds = ShadowPolicy().least_incidents, int(os.environ.get("FOREWARN_BENCH_WORLDS", 100))
    results = []
    for name, (effect, goal) in WORLDS.items():
        rng = np.random.default_rng(1)
        after = [promoted_after(world(rng, effect), least) for _ in range(worlds)]
        came = [k for k in after if k is not None]
        first, last = sum(k == least for k in came) / worlds, len(came) / worlds
        print(f"  {name}: {len(came)} of {worlds} promoted, {first:.0%} at the first look", flush=True)
        note = f"{worlds} worlds" + (f"; median {np.median(came):.0f} incidents" if came else "")
        beside = {f"at the first look, {least} incidents": first}
        metric = f"shadow promoted: {name}"
        if goal == "at most":
            results.append(at_most(metric, last, "share by 30 incidents", 0.1, baselines=beside, note=note))
        elif goal == "at least":
            results.append(at_least(metric, last, "share by 30 incidents", 0.5, baselines=beside, note=note))
        else:
            results.append(Result(metric, last, "share by 30 incidents", baselines=beside, note=note))
    return results

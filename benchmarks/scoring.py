"""Seconds to score 10,000 entities by every model that is on, and the share of it that is array arithmetic.

`python -m benchmarks.scoring [--entities N]`: hazard and time quantiles (LightGBM), Isolation Forest over feature rows
and autoregression over 60 channels an entity; two threads.
"""

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from benchmarks.report import Result, at_most, show, write
from forewarn.classification.hazard import HazardModel
from forewarn.detection.fleet import FleetAutoregression
from forewarn.detection.forecast_error import AutoregressionDetector
from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.features.definitions import FEATURE_COUNT
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk.scorer import TrainedScorer, score

CHANNELS = 60
TRAINING_ROWS = 20_000
LEARNED_APART = 50  # entities with a detector of their own; the others take one of these: learning is not measured
REPEATS = 7
LIBRARIES = ("lightgbm/basic.py",)  # its Python frames around one call of the library


def models(entities: int, seed: int = 0) -> dict[str, Callable[[], object]]:
    """What scores, trained on made-up rows: by name, a call that scores all entities."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(TRAINING_ROWS, FEATURE_COUNT))
    steps = 100 * np.exp(X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=len(X)))
    scorer = TrainedScorer(
        f"bench-{datetime.now(UTC):%Y%m%d}",
        0.5,
        HazardModel.fit(X, steps, np.full(len(X), 2000.0)),
        TimeToFailureModel.fit(X, steps, seed),
    )
    forest = IsolationForestDetector(seed=seed)
    forest.learn(X)
    learned = []
    for _ in range(LEARNED_APART):
        learned.append(AutoregressionDetector())
        learned[-1].learn(rng.normal(size=(600, CHANNELS)))
    fleet = FleetAutoregression([learned[i % LEARNED_APART] for i in range(entities)])
    rows, samples = rng.normal(size=(entities, FEATURE_COUNT)), rng.normal(size=(entities, CHANNELS))
    return {
        "hazard": lambda: scorer.survival(rows),
        "time quantiles": lambda: scorer.quantiles(rows),
        "hazard and time, one scoring path": lambda: score(scorer, rows),
        "isolation forest": lambda: forest.p_value(forest.score(rows)),
        "autoregression": lambda: learned[0].p_value(fleet.step(samples)),
    }


def seconds(call: Callable[[], object]) -> float:
    """Median wall time after one call to warm up."""
    call()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def arithmetic_share(calls: list[Callable[[], object]]) -> float:
    """Share of the profiled time spent inside compiled code (NumPy, LightGBM, scikit-learn's trees)."""
    profile = cProfile.Profile()
    profile.enable()
    for call in calls:
        call()
    profile.disable()
    rows = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    own = {name: entry[2] for name, entry in rows}
    inside = sum(t for (file, _, name), t in own.items() if file == "~" or file.endswith(LIBRARIES) or name == "step")
    return inside / sum(own.values())


def main() -> None:
    """Print the table and write results/scoring.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entities", type=int, default=10_000)
    entities = parser.parse_args().entities
    calls = models(entities)
    taken = {name: seconds(call) for name, call in calls.items()}
    path = ["hazard and time, one scoring path", "isolation forest", "autoregression"]
    total = sum(taken[name] for name in path)
    share = arithmetic_share([calls[name] for name in path])
    what = f"{entities:,} entities × {FEATURE_COUNT} features (and {CHANNELS} channels for autoregression)"
    results = [at_most("all models that are on", total, "s", 1.0, note=what)]
    results += [Result(name, value, "s") for name, value in taken.items()]
    results.append(Result("share of the time in array arithmetic", share, "of 1", note="by profile; steps of arrays"))
    show("Scoring", results)
    write("scoring", results)


if __name__ == "__main__":
    main()

"""False alarms of the anomaly watch on made-up usual signals, beside its budget.

`python -m benchmarks.false_alarms [--entities N] [--steps N]`: entities with five independent signals each of one kind,
a step a minute, through windows and watch as in the stream; nothing in them is unusual.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from benchmarks.report import Result, at_most, show, write
from forewarn.detection.channels import Floats
from forewarn.detection.false_alarm_budget import EXAMPLE, WEEK, FalseAlarmBudget
from forewarn.features.windows import WindowStore
from forewarn.risk.anomaly_watch import LEARNED, AnomalyWatch
from forewarn.telemetry.samples import SampleBatch, Series

SIGNALS = 5
STEP = 60
START = 27_000_000  # cell
KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "independent": lambda rng, shape: rng.normal(size=shape),
    "autocorrelated (0.9)": lambda rng, shape: lfilter([1.0], [1.0, -0.9], rng.normal(size=shape), axis=0),
    "heavy tails (Student, 3)": lambda rng, shape: rng.standard_t(3, size=shape),
    "lognormal": lambda rng, shape: np.exp(rng.normal(size=shape)),
    "rare spikes": lambda rng, shape: rng.normal(size=shape) + 30.0 * (rng.random(shape) < 0.002),
    "daily season": lambda rng, shape: rng.normal(size=shape) + 3 * np.sin(np.arange(shape[0]) / 229.2)[:, None],
    "random walk": lambda rng, shape: np.cumsum(rng.normal(size=shape), axis=0),
    "rare counts": lambda rng, shape: rng.poisson(0.05, size=shape).astype(float),
}


def opened(values: Floats, entities: int) -> int:
    """Anomalies that open on `values` [T, entities * SIGNALS]."""
    series = tuple(Series(f"bench/s{e}", f"signal{f}") for e in range(entities) for f in range(SIGNALS))
    index = np.arange(len(series), dtype=np.int32)
    windows = WindowStore(STEP)
    watch = AnomalyWatch(windows, STEP, FalseAlarmBudget.parse(EXAMPLE))
    count = 0
    for cell, row in enumerate(values, START):
        windows.put(SampleBatch(series, index, np.full(len(series), cell * STEP * 10**9, np.int64), row))
        windows.close_cells(cell + 1)
        count += sum(anomaly.state == "open" for anomaly in watch.step(cell + 1))
    return count


def main() -> None:
    """Print the table and write results/false_alarms.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entities", type=int, default=30)
    parser.add_argument("--steps", type=int, default=2500)
    asked = parser.parse_args()
    weeks = asked.entities * (asked.steps - LEARNED) * STEP / WEEK
    rates = {}
    for kind, make in KINDS.items():
        values = make(np.random.default_rng(7), (asked.steps, asked.entities * SIGNALS))
        rates[kind] = opened(values, asked.entities) / weeks
    note = f"budget: {EXAMPLE}; {weeks:.1f} entity-weeks of each kind"
    worst = max(rates.values())
    results = [at_most("most anomalies of one kind of usual signal", worst, "per entity and week", 1.0, note=note)]
    results += [Result(kind, rate, "per entity and week") for kind, rate in rates.items()]
    show("False alarms", results)
    write("false_alarms", results)


if __name__ == "__main__":
    main()

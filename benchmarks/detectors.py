"""Which anomaly detectors should be on: VUS-PR and time of each, and of some combined, on labelled public machines.

`python -m benchmarks.detectors [--every N] [--set NAME …] [--detector NAME …]` (every Nth machine of each set) reads
FOREWARN_DATA. Results are written one by one: the whole takes several minutes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.data import data_set, is_here
from benchmarks.report import Result, show, write
from forewarn.detection.ensemble import DETECTORS, DetectorEnsemble
from forewarn.evaluation.datasets.machines import Machine, read_asd, read_split
from forewarn.evaluation.datasets.multivariate import score_after
from forewarn.evaluation.datasets.vus_pr import period_of, vus_pr

SETS = {"smd": read_split, "asd": read_asd, "jumpstarter": read_split}
COMBINED = (("autoregression", "principal_components"), ("autoregression", "local_polynomial", "principal_components"))


def candidates() -> dict[str, Callable[[], Any]]:
    """Every detector alone, and some combined, by name."""
    single: dict[str, Callable[[], Any]] = dict(DETECTORS)
    return single | {" + ".join(names): lambda names=names: DetectorEnsemble(names) for names in COMBINED}


def measure(machine: Machine, make: Callable[[], Any]) -> tuple[float, float]:
    """VUS-PR, and seconds to learn and score."""
    started = time.process_time()
    detector = make()
    detector.learn(machine.train)
    scores = score_after(detector, machine.train, machine.test)
    seconds = time.process_time() - started
    return vus_pr(machine.label, scores, period_of(machine.test[:, 0])), seconds


def main() -> None:
    """Print the table and write results/detectors.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--detector", nargs="+", choices=candidates(), default=list(candidates()))
    chosen = parser.parse_args()
    results = []
    for name in filter(is_here, chosen.set):
        machines = [machine for machine in SETS[name](data_set(name)) if machine.label.any()][:: chosen.every]
        for candidate in chosen.detector:
            make = candidates()[candidate]
            values, seconds = np.array([measure(machine, make) for machine in machines]).T
            note = f"{len(machines)} machines, {seconds.mean():.1f} s of processor each"
            results.append(Result(f"{name}: {candidate}", float(values.mean()), "VUS-PR", note=note))
            write("detectors", results[-1:])
            print(f"{name} {candidate}: {values.mean():.3f} ({note})", file=sys.stderr, flush=True)
    if results:
        show("Anomaly detectors alone and combined", results)


if __name__ == "__main__":
    main()

"""Benchmark on the real run-to-failure recordings: `python -m benchmarks.realruns` writes results/realruns.json."""

import os
import sys
from pathlib import Path

import numpy as np

from benchmarks import report
from forewarn.evaluation.walk_forward.report import as_json, backtest_folder
from forewarn.evaluation.walk_forward.summary import GOALS
from forewarn.risk.first_day import FirstDayScorer


def main() -> None:
    """Walk every run of FOREWARN_DATA/realruns; nothing is trained, so every run is unseen."""
    folder = Path(os.environ.get("FOREWARN_DATA", "../shared/data")) / "realruns"
    if not folder.is_dir():
        sys.exit(f"{folder} does not exist: set FOREWARN_DATA to the folder that holds realruns/")
    scorer = FirstDayScorer()
    result = as_json(backtest_folder(folder, scorer), scorer.version)
    rows = []
    for goal in GOALS:
        value = result["overall"][goal.key]
        beside = {name: b[goal.key] for name, b in result["baselines"].items() if b[goal.key] is not None}
        text = f"{goal.low:g} to {goal.high:g}" if np.isfinite(goal.high) else f"≥ {goal.low:g}"
        met = None if value is None else bool(goal.low <= value <= goal.high)
        unit = "count" if "page" in goal.key else "share"
        rows.append(report.Result(goal.key, value, unit, text, met, beside, goal.title))
    report.write("realruns", rows)
    report.show(f"realruns, {scorer.version}", rows)


if __name__ == "__main__":
    main()

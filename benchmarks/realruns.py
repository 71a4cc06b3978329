"""Benchmark on the real run-to-failure recordings: `python -m benchmarks.realruns` writes results/realruns.json."""

import numpy as np

from benchmarks import report
from benchmarks.data import data_set, is_here
from forewarn.evaluation.walk_forward.report import as_json, backtest_folder
from forewarn.evaluation.walk_forward.summary import GOALS
from forewarn.risk.first_day import FirstDayScorer


def main() -> None:
    """Walk every run of FOREWARN_DATA/realruns; nothing is trained, so every run is unseen."""
    if not is_here("realruns"):
        return
    scorer = FirstDayScorer()
    result = as_json(backtest_folder(data_set("realruns"), scorer), scorer.version)
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

"""The smoke test on simulated shops: what the first-day model sees, and after how many runs a broken one is noticed."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Result
from forewarn.evaluation.smoke import summarised, trials, works
from forewarn.features.grid import grid_start, limits_grid, to_grids
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import Scorer
from forewarn.simulation.simulate import simulate
from forewarn.telemetry.samples import Series

F32, F64 = NDArray[np.float32], NDArray[np.float64]
DAYS, SEED, BEFORE, MOST_RUNS, REPEATS = 3.0, 501, 4, 12, 2
STEP = 60.0
_START = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Broken:
    """A scorer whose probabilities went wrong: `how` makes them of the healthy ones."""

    whole: Scorer
    how: Callable[[F64, F64], F64]
    version: str = "broken"

    @property
    def threshold(self) -> float:
        """Of the healthy one."""
        return self.whole.threshold

    def survival(self, features: F64) -> F64:
        """1 - the probabilities that went wrong."""
        return 1.0 - self.how(1.0 - self.whole.survival(features), features)

    def quantiles(self, features: F64) -> F64:
        """Of the healthy one."""
        return self.whole.quantiles(features)


BREAKS: dict[str, Callable[[F64, F64], F64]] = {
    "says the same of all": lambda p, _: np.full_like(p, 0.01),
    "features in a wrong order": lambda p, _: p[np.random.default_rng(0).permutation(len(p))],
    "probabilities a tenth too low": lambda p, _: p * 0.9,
    "deaf at one signal in six": lambda p, x: np.where(_one_in(6, x), 0.0, p),
}


def _one_in(n: int, features: F64) -> bool:
    """Of a trial's features [n, F]: the same answer for the same stretch, true of about one in `n`."""
    return zlib.crc32(np.nan_to_num(features[:1]).tobytes()) % n == 0


def recent(seed: int) -> tuple[list[Series], F32, F32]:
    """Three healthy days of a simulated shop: series, cells, limits."""
    recording = simulate(_START, DAYS * 24, STEP, seed)
    series = [s for entity in recording.entities for s in entity.series]
    values = np.vstack([entity.values for entity in recording.entities])
    start = grid_start(int(recording.times_ns[0]), STEP)
    cells = int((recording.times_ns[-1] - start) // int(STEP * 1e9)) + 1
    index, at = np.nonzero(~np.isnan(values))
    kinds = [s.kind for s in series]
    grid = to_grids(index.astype(np.int32), recording.times_ns[at], values[index, at], kinds, start, STEP, cells)
    return series, grid, limits_grid(grid, series)


def one_run(scorer: Scorer, stream: tuple[list[Series], F32, F32], seed: int) -> tuple[int, int]:
    """(injected, detected) of a run."""
    found = trials(scorer, *stream, seed, REPEATS)
    return len(found), sum(t.detected for t in found)


def noticed_after(broken: Scorer, stream: tuple[list[Series], F32, F32], before: tuple[int, int], seed: int) -> int:
    """Runs until the verdict is that it does not work; 0 where it is not noticed in MOST_RUNS."""
    runs: list[tuple[int, int]] = []
    for k in range(MOST_RUNS):
        runs.append(one_run(broken, stream, seed + k))
        if not works(runs, before).works:
            return k + 1
    return 0


def measure() -> list[Result]:
    """Detection and lead of the healthy scorer; runs until each broken one is noticed; false verdicts."""
    stream, healthy = recent(SEED), FirstDayScorer()
    found = trials(healthy, *stream, 1, 3)
    kinds: dict[str, list[bool]] = {}
    for trial in found:
        kinds.setdefault(trial.kind, []).append(trial.detected)
    seen = summarised(found)
    share = float(np.mean([t.detected for t in found]))
    leads = [t.lead_steps for t in found if t.detected]
    runs = [one_run(healthy, stream, 100 + k) for k in range(2 * BEFORE)]
    before = (sum(n for n, _ in runs[:BEFORE]), sum(k for _, k in runs[:BEFORE]))
    false = sum(not works(runs[BEFORE : BEFORE + k + 1], before).works for k in range(BEFORE))
    note = f"{len(found)} degradations of {len({s.entity for s in seen})} simulated services"
    by_kind = {kind: float(np.mean(own)) for kind, own in kinds.items()}
    results = [
        Result("smoke: detection probability, first-day model", share, "share", baselines=by_kind, note=note),
        Result("smoke: median lead, first-day model", float(np.median(leads)) if leads else None, "min", note=note),
        Result("smoke: a healthy model taken for broken", false, f"of {BEFORE} runs"),
    ]
    for name, how in BREAKS.items():
        after = noticed_after(Broken(healthy, how), stream, before, 900)
        told = f"at most {MOST_RUNS} were made" if after else f"not noticed in {MOST_RUNS} runs"
        results.append(Result(f"smoke: runs until noticed, {name}", after or None, "runs", note=told))
    return results

"""Smoke detector test: synthetic degradations in a copy of a service's recent stream; would we have seen them?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from forewarn.evaluation.model_metrics import MIN_LEAD_STEPS, warnings_of
from forewarn.features.batch import features_at
from forewarn.features.context import context_of
from forewarn.features.labels import failing_cells
from forewarn.risk.scorer import Scorer, score
from forewarn.telemetry.samples import Series

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SETTLE = 720  # cells of the stream as it was before a degradation begins
EVERY = 3  # cells between scorings
_TAIL = 15  # cells at the limit
ALARM_P = 0.01
LEAST_SHARE = 0.5  # of the degradations that must be seen, whatever was seen before


def leak(progress: F64) -> F64:
    """A line to the limit."""
    return progress


def pool_creep(progress: F64) -> F64:
    """Connections that are not given back: a staircase whose steps come the faster the fuller it is."""
    return np.floor(12 * progress**1.5) / 12


def log_burst(progress: F64) -> F64:
    """A volume that logs fill: slow at first, then ever faster."""
    return np.expm1(3 * progress) / np.expm1(3.0)


@dataclass(frozen=True, slots=True)
class Degradation:
    """What goes wrong and how long it takes to the limit, in steps; `signals` name where it belongs."""

    kind: str
    shape: Callable[[F64], F64]
    shortest: int
    longest: int
    signals: tuple[str, ...]


DEGRADATIONS = (
    Degradation("leak", leak, 180, 480, ("memory", "heap")),
    Degradation("pool_creep", pool_creep, 180, 480, ("connection", "pool", "thread", "descriptor")),
    Degradation("log_burst", log_burst, 120, 360, ("filesystem", "disk", "volume", "log")),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One degradation of one service: whether a warning came between its begin and MIN_LEAD_STEPS before the limit,
    and how long before, in steps (NaN where none came)."""

    entity: str
    kind: str
    detected: bool
    lead_steps: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Trials of one kind at one service."""

    entity: str
    kind: str
    injected: int
    detected: int
    median_lead_steps: float


@dataclass(frozen=True, slots=True)
class SmokeVerdict:
    """Whether the detector works, and why one thinks so."""

    works: bool
    reason: str


def trials(
    scorer: Scorer, series: Sequence[Series], cells: F32, limits: F32, seed: int, repeats: int = 3
) -> list[Trial]:
    """Degrade each limited signal of these entities in a copy and score it as the stream would.

    cells, limits: float32 [S, C], the recent stream, C > SETTLE + the longest degradation. A stretch in which the
    service fails by itself, or was warned of already, tells nothing and is left out.
    """
    rng = np.random.default_rng(seed)
    found = []
    known = np.flatnonzero(np.isfinite(limits).any(1) & np.isfinite(cells).any(1))
    for entity in sorted({series[i].entity for i in known}):
        own = np.array([i for i in range(len(series)) if series[i].entity == entity])
        part, here = [series[i] for i in own], np.flatnonzero(np.isin(own, known))
        for kind in DEGRADATIONS:
            row = _row_for(kind, part, here)
            for _ in range(repeats):
                trial = _trial(scorer, part, cells[own], limits[own], row, kind, rng)
                if trial is not None:
                    found.append(trial)
    return found


def _row_for(kind: Degradation, series: Sequence[Series], limited: NDArray[np.int64]) -> int:
    """The signal that such a thing is seen in; without one the first with a limit."""
    fitting = [int(i) for i in limited if any(word in series[i].signal for word in kind.signals)]
    return fitting[0] if fitting else int(limited[0])


def _trial(
    scorer: Scorer, series: Sequence[Series], cells: F32, limits: F32, row: int, kind: Degradation,
    rng: np.random.Generator,
) -> Trial | None:  # fmt: skip
    lasts = int(rng.integers(kind.shortest, kind.longest + 1))
    latest = cells.shape[1] - lasts - _TAIL
    if latest <= SETTLE:
        return None
    onset = int(rng.integers(SETTLE, latest))
    degraded, failed = _degraded(cells[row], limits[row], onset, lasts, kind)
    if failed < 0:
        return None
    at = np.arange(onset - 60, failed + 1, EVERY)
    context = context_of(series)
    roles = (context.load, context.errors, context.latency)
    needed = np.unique([row, *(int(role[row]) for role in roles if role[row] >= 0)])
    copy = cells[needed, : failed + 2].copy()
    place = int(np.searchsorted(needed, row))
    copy[place] = degraded[: failed + 2]
    few = [series[i] for i in needed]
    features = features_at(copy, limits[needed, : failed + 2], at, context_of(few))[place]
    probability = score(scorer, features).probability[None]
    told = warnings_of(probability, at, scorer.threshold)
    if any(one.start < onset for one in told):
        return None
    first = min((one.start for one in told), default=-1)
    lead = float(failed - first) if first >= 0 else float("nan")
    detected = first >= 0 and lead >= MIN_LEAD_STEPS
    return Trial(series[row].entity, kind.kind, detected, lead if detected else float("nan"))


def _degraded(cells: F32, limits: F32, onset: int, lasts: int, kind: Degradation) -> tuple[F32, int]:
    """The signal with what was added to it, and the cell at which it reaches its limit; -1 where it would anyway."""
    limit = float(limits[onset])
    before = cells[onset - 60 : onset]
    level = float(np.nanmedian(before)) if np.isfinite(before).any() else float("nan")
    stop = onset + lasts + _TAIL
    by_itself = failing_cells(cells[None, :stop], limits[None, :stop])[0, onset - SETTLE :].any()
    if by_itself or not (np.isfinite(limit) and limit > level >= 0):
        return cells, -1
    progress = np.clip(np.arange(1, lasts + _TAIL + 1) / lasts, 0, 1)
    result = cells.copy()
    result[onset:stop] += (kind.shape(progress) * 1.02 * (limit - level)).astype(np.float32)
    reached = np.flatnonzero(result[onset:stop] >= limits[onset:stop])
    return result, onset + int(reached[0]) if len(reached) else -1


def summarised(found: Sequence[Trial]) -> list[Seen]:
    """By service and kind."""
    rows = []
    for entity, kind in sorted({(t.entity, t.kind) for t in found}):
        own = [t for t in found if (t.entity, t.kind) == (entity, kind)]
        leads = [t.lead_steps for t in own if t.detected]
        lead = float(np.median(leads)) if leads else float("nan")
        rows.append(Seen(entity, kind, len(own), sum(t.detected for t in own), lead))
    return rows


def works(runs: Sequence[tuple[int, int]], before: tuple[int, int]) -> SmokeVerdict:
    """Whether the detector that made `runs`, (injected, detected) of each since it serves, sees what it should.

    before: (injected, detected) of the detectors before it, together. It does not work where it saw fewer than
    LEAST_SHARE, or so few that the share of before would make them a chance of less than ALARM_P (one-sided binomial
    test over all its runs, so that a loss too small for one run is seen after some).
    """
    injected, detected = sum(n for n, _ in runs), sum(k for _, k in runs)
    if injected == 0:
        return SmokeVerdict(True, "no service had a stretch in which a degradation could be tried")
    said = f"{detected} of {injected} degradations seen in {len(runs)} runs"
    if detected < LEAST_SHARE * injected:
        return SmokeVerdict(False, f"{said}: less than {LEAST_SHARE:.0%}")
    if before[0] == 0:
        return SmokeVerdict(True, f"{said}; nothing to compare with yet")
    share = (before[1] + 1) / (before[0] + 2)  # Laplace: a handful of runs is no certainty
    chance = float(binom.cdf(detected, injected, share))
    if chance < ALARM_P:
        return SmokeVerdict(False, f"{said}, {share:.0%} before: a chance of {chance:.1e}")
    return SmokeVerdict(True, f"{said}, {share:.0%} before")

"""Holds the pages about one recording against what failed in it."""

from dataclasses import asdict, dataclass

import numpy as np

from forewarn.evaluation.walk_forward.pages import Estimate, Page
from forewarn.features.ramp_kernel import level_then_line
from forewarn.risk.catalogue import catalogue, failure_mode
from forewarn.telemetry.recording import Failure, Recording

LEAST_LEAD_SECONDS = 60.0
LEAST_LEAD_SHARE = 0.1  # of the time from the start of the recording to its end
PAGE_STEPS = 360  # a page speaks of so many steps, and of as long as it stays open
_SAME_MODES = {  # what a failure of a mode is told as: a queue that fills is seen in its depth or in its wait
    "db_connection_exhaustion": ("connection_exhaustion",),
    "queue_saturation": ("queue_saturation", "latency_breach"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method reached on one recording; NaN or None where there is nothing to say.

    predicted: a right page came early enough. possible_lead: seconds from when the cause begins to show (a level
    followed by a line, fitted to the cause's signal in hindsight; the start of the recording where that is unknown).
    covered: share of the estimates of the right page whose 80 % interval held the failure. eta_error: of the median
    at half of the lead, relative. cause_rank: place of the true cause in the page, 0 where it is not named.
    """

    run: str
    failed: bool
    mode: str
    predicted: bool
    pages: int
    right_pages: int
    lead: float
    possible_lead: float
    covered: float
    eta_error: float
    cause_rank: int

    @property
    def lead_share(self) -> float:
        """Lead over possible lead, 0 for a failure that was not predicted, at most 1."""
        return min(self.lead / self.possible_lead, 1.0) if self.predicted and self.possible_lead > 0 else 0.0

    def row(self) -> dict[str, object]:
        """For JSON."""
        row = {**asdict(self), "lead_share": self.lead_share if self.failed else None}
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}


def outcome(recording: Recording, pages: list[Page], step: float) -> Outcome:
    """Score the pages of one recording; those that open at or after the first failure do not count."""
    first = min(recording.failures, key=lambda f: f.first_failure_at, default=None)
    nan = float("nan")
    if first is None:
        return Outcome(recording.name, False, "", False, len(pages), 0, nan, nan, nan, nan, 0)
    came = first.first_failure_at.timestamp()
    before = [p for p in pages if p.start < came]
    right = [p for p in before if _is_right(p, recording, came, step)]
    began, ended = (t / 1e9 for t in recording.span_ns)
    least = max(LEAST_LEAD_SECONDS, LEAST_LEAD_SHARE * (ended - began))
    early = [p for p in right if came - p.start >= least]
    best = min(early or right, key=lambda p: p.start, default=None)
    lead = came - best.start if best else nan
    covered, error = _times(best.estimates, came, lead) if best else (nan, nan)
    return Outcome(
        recording.name, True, first.mode, bool(early), len(before), len(right), lead,
        came - _onset(recording, first), covered, error, _rank(best, first) if best else 0,
    )  # fmt: skip


def _is_right(page: Page, recording: Recording, came: float, step: float) -> bool:
    """Open at the failure (or opened within its horizon), of its mode, of an entity that fails, causes or is next."""
    entities = {e for f in recording.failures for e in (f.entity, f.cause_entity)}
    near = [set(edge) for edge in recording.topology if entities & set(edge)]  # who calls it, and what it uses
    entities = entities.union(*near)
    modes = {mode for f in recording.failures for mode in _modes(f)}
    signals = {f.cause_signal for f in recording.failures}
    in_time = page.end >= came - 15 * step or came - page.start <= PAGE_STEPS * step
    return in_time and page.entity in entities and (page.mode in modes or page.signal in signals)


def _modes(failure: Failure) -> tuple[str, ...]:
    """The catalogue's names of what failed; a mode that it does not know is that of the cause's signal."""
    if failure.mode in _SAME_MODES:
        return _SAME_MODES[failure.mode]
    known = any(entry.mode == failure.mode for entry in catalogue())
    return (failure.mode,) if known or not failure.cause_signal else (failure_mode(failure.cause_signal).mode,)


def _times(estimates: list[Estimate], came: float, lead: float) -> tuple[float, float]:
    past = [e for e in estimates if e.at < came]
    if not past:
        return float("nan"), float("nan")
    covered = float(np.mean([e.at + e.p10 <= came <= e.at + e.p90 for e in past]))
    half = max((e for e in past if e.at <= came - lead / 2), key=lambda e: e.at, default=past[0])
    return covered, abs(half.at + half.p50 - came) / (came - half.at)


def _rank(page: Page, failure: Failure) -> int:
    wanted = (failure.cause_entity or failure.entity, failure.cause_signal)
    return page.causes.index(wanted) + 1 if wanted in page.causes else 0


def _onset(recording: Recording, failure: Failure) -> float:
    """When the cause begins to show, in hindsight."""
    m = recording.metrics
    start, came = recording.span_ns[0], failure.first_failure_at.timestamp()
    for number, series in enumerate(m.series):
        if (series.entity, series.signal) == (failure.cause_entity, failure.cause_signal):
            own = (m.index == number) & (m.times < came * 1e9) & np.isfinite(m.values)
            if own.sum() >= 20:
                times = (m.times[own] - start) / 1e9
                return start / 1e9 + float(times[level_then_line(m.values[own], times)])
    return start / 1e9

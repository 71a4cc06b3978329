"""How good predictions are on held-out time: as warnings of failures, as probabilities and as intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.related import Related
from forewarn.risk.episodes import CONFIRM, WITHDRAW

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_LEAD_STEPS = 5.0  # a warning that comes later helps nobody
EARLY_STEPS = 30.0  # one that comes so early leaves time to act: half an hour at 60 s
INCIDENT_STEPS = 120
WARNING_STEPS = 360  # a warning speaks of the next 360 steps; while it is open it is renewed once


@dataclass(frozen=True, slots=True)
class Told:
    """A stretch of time in which a risk of series `row` was told: cells [start, end]."""

    row: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EventMetrics:
    """Warnings held against failures, and as people get them: pages held against incidents.

    A failure is one signal that reaches its limit; failures of related signals that begin within INCIDENT_STEPS of
    each other are one incident. Warnings of related signals that begin within INCIDENT_STEPS of the first of them are
    one page. A page that begins while something related is failing already, or within INCIDENT_STEPS after, belongs to
    that incident and is not counted unless it came true by itself.
    Leads are in steps before an incident's first failure, of the predicted incidents only; NaN without one.
    """

    failures: int
    predicted_failures: int
    incidents: int
    predicted_incidents: int
    warnings: int
    true_warnings: int
    pages: int
    true_pages: int
    median_lead: float
    early_incidents: int = 0  # predicted EARLY_STEPS before, or more

    @property
    def recall(self) -> float:
        """Share of the incidents that a warning about one of their signals came MIN_LEAD_STEPS before, or more;
        NaN without incidents."""
        return self.predicted_incidents / self.incidents if self.incidents else float("nan")

    @property
    def signal_recall(self) -> float:
        """Share of the failing signals that a warning came before. Many of them are dragged along within a minute by
        the one that fails first, and nothing in their own past tells of it."""
        return self.predicted_failures / self.failures if self.failures else float("nan")

    @property
    def precision(self) -> float:
        """Share of the pages that a failure of one of their signals followed; 0 where nothing was told though
        something failed."""
        if self.pages:
            return self.true_pages / self.pages
        return 0.0 if self.failures else float("nan")

    @property
    def signal_precision(self) -> float:
        """Share of the warnings that a failure of their own signal followed."""
        return self.true_warnings / self.warnings if self.warnings else float("nan")

    @property
    def false_pages(self) -> int:
        """Pages that nothing followed."""
        return self.pages - self.true_pages

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision, 0 where either is undefined."""
        return _harmonic_mean(self.recall, self.precision)

    @property
    def early_recall(self) -> float:
        """Share of the incidents that a warning came EARLY_STEPS before, or more; NaN without incidents."""
        return self.early_incidents / self.incidents if self.incidents else float("nan")

    @property
    def early_f1(self) -> float:
        """`f1` where an incident counts as predicted only if the warning came EARLY_STEPS before, or more."""
        return _harmonic_mean(self.early_recall, self.precision)


def _harmonic_mean(one: float, other: float) -> float:
    total = one + other
    return 2 * one * other / total if total > 0 else 0.0


def warnings_of(probability: F64, at: I64, threshold: float) -> list[Told]:
    """Stretches in which a risk is told: `probability` [S, M] of failing within the paging horizon, scored at cells
    `at` [M]. The same hysteresis as `forewarn.risk.episodes`: CONFIRM scorings from the threshold on open one,
    WITHDRAW scorings below a third of it close it; rows that are further apart than a step stand for the scorings
    between them (`rows_in`). A NaN (while failing, nothing is predicted) closes it at once.
    """
    spacing = int(np.median(np.diff(at))) if len(at) > 1 else 1
    confirm, withdraw = rows_in(CONFIRM, spacing), rows_in(WITHDRAW, spacing)
    return [
        Told(row, int(at[first]), int(at[last]))
        for row, line in enumerate(probability)
        for first, last in _stretches(line, threshold, confirm, withdraw)
    ]


def rows_in(steps: int, spacing: int) -> int:
    """How many rows, `spacing` steps apart, tell what so many scorings in a row tell: at least one.

    On six simulated shops, at thresholds from 0.3 to 0.7, rows 5 apart then give the recall of rows of every step
    within 0.02 (as many rows as scorings: 0.04 to 0.12 less), rows 75 apart 0.26 to 0.39 less (0.60 to 0.64 less).
    """
    return max(1, -(-steps // spacing))


def _stretches(line: F64, threshold: float, confirm: int, withdraw: int) -> list[tuple[int, int]]:
    above = line >= threshold
    below = ~(line >= threshold / 3)
    found: list[tuple[int, int]] = []
    if not above.any():
        return found
    i, n = 0, len(line)
    opens = np.nonzero(_run_ends(above, confirm))[0]
    closes = np.nonzero(_run_ends(below, withdraw) | np.isnan(line))[0]
    while True:
        later = opens[np.searchsorted(opens, i) :]
        if not len(later):
            return found
        first = int(later[0])
        ends = closes[np.searchsorted(closes, first) :]
        last = int(ends[0]) if len(ends) else n - 1
        found.append((first, last))
        i = last + 1


def _run_ends(flag: Bools, length: int) -> Bools:
    """Where a run of `length` True ends."""
    total = np.cumsum(np.concatenate([[0], flag]))
    result = np.zeros(len(flag), dtype=bool)
    result[length - 1 :] = (total[length:] - total[:-length]) == length
    return result


def onsets_of(failing: Bools, start: int = 0, stop: int | None = None) -> list[I64]:
    """For each of S series the cells in [start, stop) where a failure begins; failing bool [S, C]."""
    began = failing.copy()
    began[:, 1:] &= ~failing[:, :-1]
    began[:, 0] = False  # it began before anyone watched
    stop = failing.shape[1] if stop is None else stop
    return [np.nonzero(row[start:stop])[0] + start for row in began]


def event_metrics(
    warnings: Sequence[Told],
    onsets: Sequence[I64],
    last_cell: int,
    failing: Bools | None = None,
    acted: Sequence[I64] | None = None,
    related: Related | None = None,
) -> EventMetrics:
    """Hold warnings against the failures of the same series; failing: bool [S, C], to know running incidents; related:
    which of the series may be one incident, all of them without.

    acted: for each series the cells at which someone acted on a warning. A warning that speaks of such a cell and did
    not come true is neither true nor false: nobody knows what would have come.

    A warning is true where a failure begins within WARNING_STEPS of its start, or twice that while it is open. One
    whose horizon ends after `last_cell` and that nothing followed yet is neither true nor false and is not counted.
    """
    right = [_comes_true(w, onsets[w.row]) for w in warnings]
    helped = [acted is not None and _comes_true(w, acted[w.row]) for w in warnings]
    counted = [r or (_reach(w) <= last_cell and not h) for w, r, h in zip(warnings, right, helped, strict=True)]
    related = related or Related.all(len(onsets))
    judged = list(zip(warnings, right, counted, strict=True))
    pages = [_page(group, failing, related) for group in _pages(judged, related)]
    failures = _failures(onsets)
    leads = {f: _lead(f, f.cell, warnings) for f in failures}
    incidents = _incidents(failures, related)
    first = [max(_lead(f, group[0].cell, warnings) for f in group) for group in incidents]
    early = [lead for lead in first if lead >= MIN_LEAD_STEPS]
    return EventMetrics(
        failures=len(failures),
        predicted_failures=sum(lead >= MIN_LEAD_STEPS for lead in leads.values()),
        incidents=len(incidents),
        predicted_incidents=len(early),
        warnings=sum(counted),
        true_warnings=sum(right),
        pages=sum(page is not None for page in pages),
        true_pages=sum(page is True for page in pages),
        median_lead=float(np.median(early)) if early else float("nan"),
        early_incidents=sum(lead >= EARLY_STEPS for lead in first),
    )


_Judged = tuple[Told, bool, bool]  # warning, whether it came true, whether its outcome is known


def _pages(judged: list[_Judged], related: Related) -> list[list[_Judged]]:
    """Warnings in groups, each related to another of its group, that begin within INCIDENT_STEPS of the first: a page
    does not go on without end, or one that warns all the time would be one long page that comes true."""
    groups: list[list[_Judged]] = []
    recent = 0  # groups before it are closed: they are in the order of their first warnings
    for one in sorted(judged, key=lambda j: j[0].start):
        while recent < len(groups) and one[0].start - groups[recent][0][0].start > INCIDENT_STEPS:
            recent += 1
        near = (g for g in groups[recent:] if any(related.are(one[0].row, other.row) for other, _, _ in g))
        group = next(near, None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _page(group: list[_Judged], failing: Bools | None, related: Related) -> bool | None:
    """Whether a page came true; None where that is not known or it belongs to an incident that was there already."""
    if any(right for _, right, _ in group):
        return True
    start = group[0][0].start
    if failing is not None:
        near = related.rows([one.row for one, _, _ in group])
        if failing[near, max(start - INCIDENT_STEPS, 0) : start + 1].any():
            return None
    return False if any(known for _, _, known in group) else None


def _comes_true(warning: Told, came: I64) -> bool:
    return bool(((came >= warning.start) & (came <= _reach(warning))).any())


def _reach(warning: Told) -> int:
    """The last cell that a warning speaks of: one that is always open says nothing."""
    return warning.start + min(max(warning.end + 1 - warning.start, WARNING_STEPS), 2 * WARNING_STEPS)


@dataclass(frozen=True, slots=True, order=True)
class _Failure:
    row: int
    cell: int


def incident_cells(onsets: Sequence[I64], related: Related | None = None) -> list[int]:
    """Cell of the first failure of each incident."""
    return [group[0].cell for group in _incidents(_failures(onsets), related or Related.all(len(onsets)))]


def _failures(onsets: Sequence[I64]) -> list[_Failure]:
    return [_Failure(row, int(cell)) for row, came in enumerate(onsets) for cell in came]


def _incidents(failures: Sequence[_Failure], related: Related) -> list[list[_Failure]]:
    """Related failures that begin within INCIDENT_STEPS of each other, in groups, each in order of time."""
    ended, going_on = list[list[_Failure]](), list[list[_Failure]]()
    for failure in sorted(failures, key=lambda f: f.cell):
        joined, apart = [failure], list[list[_Failure]]()
        for group in going_on:
            if failure.cell - group[-1].cell > INCIDENT_STEPS:
                ended.append(group)
            elif any(failure.cell - f.cell <= INCIDENT_STEPS and related.are(failure.row, f.row) for f in group):
                joined += group  # several become one when something related to all of them fails
            else:
                apart.append(group)
        going_on = [*apart, sorted(joined, key=lambda f: f.cell)]
    return sorted([*ended, *going_on], key=lambda g: g[0].cell)


def _lead(failure: _Failure, before: int, warnings: Sequence[Told]) -> float:
    """Steps from the earliest warning that covers a failure to the cell `before`; -1 without one."""
    own = (w for w in warnings if w.row == failure.row and _covers(w, failure.cell))
    return max((before - w.start for w in own), default=-1)


def _covers(warning: Told, onset: int) -> bool:
    return warning.start <= onset <= _reach(warning)


def together(metrics: Sequence[EventMetrics]) -> EventMetrics:
    """Counts of several stretches added up; the median lead is that of their medians."""
    counts = {f.name: sum(getattr(m, f.name) for m in metrics) for f in fields(EventMetrics)}
    leads = [m.median_lead for m in metrics if np.isfinite(m.median_lead)]
    return EventMetrics(**{**counts, "median_lead": float(np.median(leads)) if leads else float("nan")})


THRESHOLDS = tuple(np.round(np.arange(0.1, 0.91, 0.05), 2).tolist())


def best_threshold(metrics_at: Callable[[float], EventMetrics], default: float) -> float:
    """The middle of the thresholds around the best `early_f1` at which it is within 0.05 of it.

    Differences that small are one page more or less. Early, because thresholds that tell of the same incidents differ
    in how long before; the middle, because what comes will differ from what was measured in either direction.
    `default` where nothing failed, or nothing was predicted at any threshold.
    """
    value = np.array([metrics_at(t).early_f1 for t in THRESHOLDS])
    best = int(np.argmax(value))
    if value[best] <= 0:
        return default
    low = high = best
    while low > 0 and value[low - 1] >= value[best] - 0.05:
        low -= 1
    while high + 1 < len(value) and value[high + 1] >= value[best] - 0.05:
        high += 1
    return THRESHOLDS[(low + high) // 2]


def known_outcome(steps: F64, observed: F64, horizon: float) -> tuple[Bools, Bools]:
    """(known, failed): whether it is known what came within `horizon` steps, and whether it failed."""
    failed = steps <= horizon
    return (failed | (observed >= horizon)) & ~np.isnan(steps) & ~np.isnan(observed), failed


def brier(probability: F64, outcome: Bools) -> float:
    """Mean squared error of a probability (Brier 1950); NaN without rows."""
    return float(np.mean((probability - outcome) ** 2)) if len(probability) else float("nan")


def log_loss(probability: F64, outcome: Bools) -> float:
    """Mean negative log-likelihood in nats, probabilities kept within 1e-6 of 0 and 1; NaN without rows."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(outcome, np.log(p), np.log1p(-p)))) if len(p) else float("nan")


def coverage(low: F64, high: F64, came: F64) -> float:
    """Share of what came that lies within [low, high]; NaN where nothing came."""
    known = np.isfinite(came)
    return float(np.mean((low[known] <= came[known]) & (came[known] <= high[known]))) if known.any() else float("nan")


def interval_coverage(quantiles: F64, steps: F64, edges: Sequence[int], weight: F64 | None = None) -> dict[str, float]:
    """Weighted share of what came within the 80 % interval `quantiles` [n, 3], by how far off the failure was.

    steps [n], inf or NaN where none came; weight [n], ones without. Keys '1-15', '16-60', … by `edges`, and 'all'; NaN
    where nothing came.
    """
    inside = (quantiles[:, 0] <= steps) & (steps <= quantiles[:, 2])
    weights = np.ones(len(steps)) if weight is None else weight
    bins = {f"{low + 1}-{high}": (steps > low) & (steps <= high) for low, high in pairwise((0, *edges))}
    bins["all"] = (steps > 0) & (steps <= edges[-1])
    return {
        name: float(np.average(inside[rows], weights=weights[rows])) if rows.any() else float("nan")
        for name, rows in bins.items()
    }

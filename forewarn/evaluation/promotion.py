"""Whether a candidate may become the champion: a pure function over what was measured on held-out time."""

from dataclasses import dataclass

MIN_RECALL = 0.5
MIN_PRECISION = 0.5
TOLERANCE = 0.02  # how much worse than the champion in F1 a candidate may be and still replace it as the fresher one


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and its reason, in a sentence that a person understands."""

    yes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a model reached on data that it never saw: on the test interval, or on that and more of the history.

    incidents: independent ones; signals that fail together are one. brier, brier_baseline: of P(failure within the
    paging horizon), the model's and the base rate's; lower is better.
    best_baseline_f1: the best of the simple methods (linear extrapolation, static threshold, the first-day trend that
    serves until there is a model) on the same interval. early_recall: share of the incidents told EARLY_STEPS ahead,
    the measure by which thresholds are chosen; best_baseline_f1 is by it, too.
    """

    version: str
    incidents: int
    recall: float
    precision: float
    brier: float
    brier_baseline: float
    best_baseline_f1: float
    best_baseline: str = "baseline"
    early_recall: float | None = None

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and of the recall that leaves time to act, where that is known."""
        recall = self.recall if self.early_recall is None else self.early_recall
        total = recall + self.precision
        return 2 * recall * self.precision / total if total > 0 else 0.0

    @property
    def one_page(self) -> float:
        """What one page more or less may change in F1: differences below it are chance."""
        return 1.0 / (self.incidents + 1)


def should_promote(candidate: Standing, champion: Standing | None, whole: Standing | None = None) -> Verdict:
    """Promote a candidate that beats the simple methods and, where there is one, is not worse than the champion.

    The Brier score speaks of every row and decides; pages are few, so in F1 a candidate may lie below a simple
    method by what a single page changes, and no more.
    `champion` is the champion's standing on the candidate's test interval, not on its own of long ago. `whole` is the
    candidate's standing on the test interval and on the blocks of history that were foreseen by models that had not
    seen them: a test interval holds two or three incidents, which one page decides; pages are judged on the whole.
    """
    pages = whole or candidate
    in_time = "" if pages.early_recall is None else f" ({pages.early_recall:.0%} in time to act)"
    measured = f"recall {pages.recall:.0%}{in_time}, precision {pages.precision:.0%} on {_incidents(candidate, whole)}"
    if candidate.incidents == 0:
        return Verdict(False, "the test interval holds no failure: nothing shows that the model is of use")
    if pages.recall < MIN_RECALL or pages.precision < MIN_PRECISION:
        return Verdict(False, f"{measured}: below {MIN_RECALL:.0%} / {MIN_PRECISION:.0%}")
    if candidate.brier >= candidate.brier_baseline:
        return Verdict(
            False, f"Brier score {candidate.brier:.4f} is no better than the base rate's {candidate.brier_baseline:.4f}"
        )
    if pages.f1 < pages.best_baseline_f1 - pages.one_page:
        return Verdict(
            False,
            f"F1 {pages.f1:.2f} is below {pages.best_baseline} ({pages.best_baseline_f1:.2f}) "
            f"on {_incidents(candidate, whole)}",
        )
    if champion is None:
        return Verdict(True, f"first model; {measured}, {_beside(pages)}")
    if candidate.f1 < champion.f1 - TOLERANCE:
        return Verdict(
            False,
            f"F1 {candidate.f1:.2f} is below the champion's {champion.f1:.2f} ({champion.version}) on the same days",
        )
    return Verdict(True, f"F1 {candidate.f1:.2f} against the champion's {champion.f1:.2f} on the same days; {measured}")


def _incidents(candidate: Standing, whole: Standing | None) -> str:
    if whole is None:
        return f"{candidate.incidents} incidents"
    return f"{whole.incidents} incidents ({candidate.incidents} of the test days, others by cross-fitting)"


def _beside(candidate: Standing) -> str:
    return f"F1 {candidate.f1:.2f} beside {candidate.best_baseline_f1:.2f} of {candidate.best_baseline}"

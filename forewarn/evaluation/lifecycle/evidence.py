"""What the ledger says of a model beside what its backtest promised, and whether the difference is chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forewarn.evaluation.promotion import Verdict

MARGIN = 0.1  # a model that does this much worse than promised is still as promised: a backtest is an estimate, too
HIGHEST_PROMISE = 0.95  # a backtest without a single miss promises no perfection
SILENT = Verdict(False, "")


@dataclass(frozen=True, slots=True)
class Realised:
    """How episodes of a model ended, each counted once by its first prediction; see `ledger.TrackRecord`.

    came_true: hits and late ones. false: expired and dismissed. missed: failures that no open episode spoke of.
    inside: first predictions whose 80 % interval held the failure, of `judged`. Averted ones are in none of these.
    """

    came_true: int = 0
    false: int = 0
    missed: int = 0
    inside: int = 0
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Promised:
    """What the backtest reached, of signals as the ledger counts them; None where it could not say.

    A backtest's recall is of incidents and its precision of pages: the signals that an incident drags along with it
    are in neither, and a ledger held against those would call every model broken after its first incidents.
    told, failed: of how many signals precision and recall were measured; None: of so many that they are certain.
    """

    precision: float | None = None
    recall: float | None = None
    told: float | None = None
    failed: float | None = None

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> "Promised":
        """From the registry's {"metric": {"value": …}}; of incidents where it knows nothing of signals."""

        def value(name: str) -> float | None:
            entry = metrics.get(name)
            found = entry.get("value") if isinstance(entry, Mapping) else entry
            return float(found) if isinstance(found, int | float) else None

        def of_signals(name: str) -> float | None:
            return value(f"signal_{name}" if f"signal_{name}" in metrics else name)

        return cls(of_signals("precision"), of_signals("recall"), value("signals_told"), value("signals_failed"))


def decay(realised: Realised, promised: Promised, least: int, chance: float) -> Verdict:
    """Whether precision, recall or the coverage of the 80 % interval is below what was promised by more than chance.

    least: episodes that must have been resolved before anything is said. chance: probability with which a model that
    is as good as promised (less MARGIN) would do so badly; a binomial test each, one-sided for the first two. What a
    backtest of few signals promised is uncertain itself: the probability is then of the beta-binomial distribution.
    """
    told, failures = realised.came_true + realised.false, realised.came_true + realised.missed
    found = [
        _below("precision", realised.came_true, told, promised.precision, promised.told, least, chance),
        _below("recall", realised.came_true, failures, promised.recall, promised.failed, least, chance),
        _coverage(realised.inside, realised.judged, least, chance),
    ]
    reasons = "; ".join(verdict.reason for verdict in found if verdict.yes)
    return Verdict(bool(reasons), reasons)


def _below(
    name: str, good: int, of: int, promised: float | None, measured: float | None, least: int, chance: float
) -> Verdict:
    if promised is None or of < least:
        return SILENT
    if measured is None:
        by_chance = at_most(good, of, max(min(promised, HIGHEST_PROMISE) - MARGIN, 0.0))
    else:
        by_chance = at_most_by_estimate(good, of, promised, measured)
    if by_chance >= chance:
        return SILENT
    return Verdict(True, f"{name} was {good} of {of}, the backtest promised {promised:.0%}")


def _coverage(inside: int, judged: int, least: int, chance: float) -> Verdict:
    """An interval that is too narrow misleads; one that is too wide shows in the pages' wording, and is no decay."""
    if judged < least or at_most(inside, judged, 0.8 - MARGIN) >= chance:
        return SILENT
    return Verdict(True, f"the 80 % interval held {inside} of {judged} failures")


def at_most_by_estimate(good: int, of: int, share: float, measured: float) -> float:
    """P(X <= good) over `of` tries of a probability of which `measured` tries are known, a `share` of them good.

    From a uniform prior the probability is Beta(k + 1, n - k + 1); its mean is lowered by MARGIN, its certainty kept.
    """
    from scipy.stats import betabinom

    certainty = measured + 2.0
    mean = max(min((share * measured + 1.0) / certainty, HIGHEST_PROMISE) - MARGIN, 0.01)
    return float(betabinom.cdf(good, of, mean * certainty, (1.0 - mean) * certainty))


def at_most(good: int, of: int, share: float) -> float:
    """P(X <= good) for X binomial over `of` tries of probability `share`."""
    from scipy.special import bdtr

    return float(bdtr(good, of, share))

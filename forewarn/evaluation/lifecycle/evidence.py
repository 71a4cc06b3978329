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
    """

    precision: float | None = None
    recall: float | None = None

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> "Promised":
        """From the registry's {"metric": {"value": …}}; of incidents where it knows nothing of signals."""

        def value(name: str) -> float | None:
            entry = metrics.get(name)
            found = entry.get("value") if isinstance(entry, Mapping) else entry
            return float(found) if isinstance(found, int | float) else None

        def of_signals(name: str) -> float | None:
            return value(f"signal_{name}" if f"signal_{name}" in metrics else name)

        return cls(of_signals("precision"), of_signals("recall"))


def decay(realised: Realised, promised: Promised, least: int, chance: float) -> Verdict:
    """Whether precision, recall or the coverage of the 80 % interval is below what was promised by more than chance.

    least: episodes that must have been resolved before anything is said. chance: probability with which a model that
    is as good as promised (less MARGIN) would do so badly; a binomial test each, one-sided for the first two.
    """
    told, failures = realised.came_true + realised.false, realised.came_true + realised.missed
    found = [
        _below("precision", realised.came_true, told, promised.precision, least, chance),
        _below("recall", realised.came_true, failures, promised.recall, least, chance),
        _coverage(realised.inside, realised.judged, least, chance),
    ]
    reasons = "; ".join(verdict.reason for verdict in found if verdict.yes)
    return Verdict(bool(reasons), reasons)


def _below(name: str, good: int, of: int, promised: float | None, least: int, chance: float) -> Verdict:
    if promised is None or of < least:
        return SILENT
    expected = max(min(promised, HIGHEST_PROMISE) - MARGIN, 0.0)
    if at_most(good, of, expected) >= chance:
        return SILENT
    return Verdict(True, f"{name} was {good} of {of}, the backtest promised {promised:.0%}")


def _coverage(inside: int, judged: int, least: int, chance: float) -> Verdict:
    """An interval that is too narrow misleads; one that is too wide shows in the pages' wording, and is no decay."""
    if judged < least or at_most(inside, judged, 0.8 - MARGIN) >= chance:
        return SILENT
    return Verdict(True, f"the 80 % interval held {inside} of {judged} failures")


def at_most(good: int, of: int, share: float) -> float:
    """P(X <= good) for X binomial over `of` tries of probability `share`."""
    from scipy.special import bdtr

    return float(bdtr(good, of, share))

"""Whether a demo showed what it promises: a failure told before it came, nobody paged in vain, a ledger that agrees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.cli.demo.facts import Failed, Told
from forewarn.incidents.records import Incident

CLOSE = timedelta(minutes=2)  # two samples: a failure is seen when its first sample has come


@dataclass(frozen=True, slots=True)
class TrueFailure:
    """A failure that the simulation knows of; `since`: when what leads to it began, before which nobody could know."""

    entity: str
    signal: str
    at: datetime
    until: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: whether it was kept, and the sentence that says how."""

    kept: bool
    text: str


def checks(
    truth: Sequence[TrueFailure],
    told: Sequence[Told],
    failed: Sequence[Failed],
    paged: Sequence[Incident],
    warnings: Sequence[tuple[str, str, datetime]],
) -> list[Check]:
    """Hold what was told against the truth; an empty `truth` (nothing was made to fail) asks for silence.

    warnings: entity, signal and time of each telling, renewals included.
    """
    return [_predicted(truth, told, warnings), _healthy_left_alone(truth, paged), _ledger_agrees(truth, told, failed)]


def _predicted(
    truth: Sequence[TrueFailure], told: Sequence[Told], warnings: Sequence[tuple[str, str, datetime]]
) -> Check:
    """A hit counts from the first telling after the trouble began: what was told before came true by chance."""
    if not truth:
        return Check(True, "nothing was made to fail")
    hit = {(t.entity, t.signal) for t in told if t.outcome == "hit"}
    leads = [
        ((failure.at - at).total_seconds() / 60, failure)
        for failure in truth
        for entity, signal, at in warnings
        if (entity, signal) == (failure.entity, failure.signal) and failure.since <= at < failure.at
        if (entity, signal) in hit
    ]
    if not leads:
        return Check(False, "no failure was predicted before it came")
    lead, best = max(leads, key=lambda one: one[0])
    return Check(True, f"{best.signal} of {best.entity} was predicted {lead:.0f} min before it failed")


def _healthy_left_alone(truth: Sequence[TrueFailure], paged: Sequence[Incident]) -> Check:
    failing = {t.entity for t in truth}
    vain = [i for i in paged if i.entity not in failing and i.failed_at is None]
    if vain:
        return Check(False, f"paged in vain: {', '.join(sorted({i.entity for i in vain}))}")
    return Check(True, f"no healthy entity was paged ({len(paged)} incidents were told)")


def _ledger_agrees(truth: Sequence[TrueFailure], told: Sequence[Told], failed: Sequence[Failed]) -> Check:
    """Each failure that the ledger names, alone or in a hit, was going on then, and none is missing."""
    claims = [(f.entity, f.signal, f.failed_at) for f in failed]
    claims += [(t.entity, t.signal, t.failed_at) for t in told if t.outcome == "hit" and t.failed_at]
    wrong = [c for c in claims if not any(_was_failing(t, *c) for t in truth)]
    missing = [t for t in truth if not any(f.entity == t.entity and f.signal == t.signal for f in failed)]
    if wrong:
        return Check(
            False, f"the ledger has failures that did not happen: {sorted({c[0] + ' ' + c[1] for c in wrong})}"
        )
    if missing:
        return Check(False, f"the ledger lacks failures: {sorted({m.entity + ' ' + m.signal for m in missing})}")
    return Check(True, f"the ledger agrees with what happened ({len(failed)} failures seen, all of them true)")


def _was_failing(truth: TrueFailure, entity: str, signal: str, at: datetime) -> bool:
    return (truth.entity, truth.signal) == (entity, signal) and truth.at - CLOSE <= at <= truth.until + CLOSE

"""Whether the champion is broken and must go: by what it does while it serves, beside what the one before it did."""

from dataclasses import dataclass, field

from forewarn.evaluation.lifecycle.evidence import Promised, Realised, at_most, decay
from forewarn.evaluation.promotion import Verdict

LEAST_ERRORS = 3
ERROR_SHARE = 0.05
LEAST_BATCHES = 20
LATENCY_RATIO = 5.0
LATENCY_SECONDS = 0.5  # a batch that takes less is quick enough, whatever the one before took
LEAST_ALARMS = 5
ALARM_RATIO = 3.0
ALARM_CHANCE = 1e-3
LEAST_ROWS = 1_000
ABSTENTION_RISE = 0.3
LEAST_TRIALS = 10
SMOKE_SHARE = 0.5  # of the degradations that models before it saw: a raised threshold may cost some, not half
LEAST_EPISODES = 8
DECAY_CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a model did while it served, over all predictors.

    batches: scorings; errors: those on which it raised or answered what cannot be. rows: signals in them; abstained:
    rows of which nothing was said. opened: risks told for the first time; came_true: those that were followed by
    their failure. p99_seconds: of a batch, in the median minute: a busy machine has bad minutes.
    """

    batches: int = 0
    errors: int = 0
    rows: int = 0
    abstained: int = 0
    opened: int = 0
    came_true: int = 0
    p99_seconds: float | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Smoke:
    """Synthetic degradations in copies of the stream, and how many of them a model saw in time."""

    injected: int = 0
    detected: int = 0


@dataclass(frozen=True, slots=True)
class ServingState:
    """The champion since it began to serve, and who served before it.

    refused: why its files cannot be loaded; '' where they can. before: vitals of healthy models in the time before,
    None where there are none to compare with. realised, promised: what the ledger says of it, and its backtest.
    """

    version: str
    now: Vitals
    before: Vitals | None = None
    refused: str = ""
    realised: Realised = field(default_factory=Realised)
    promised: Promised = field(default_factory=Promised)
    smoke: Smoke = field(default_factory=Smoke)
    smoke_before: Smoke = field(default_factory=Smoke)


def should_roll_back(state: ServingState) -> Verdict:
    """Roll back a champion that cannot be loaded, fails, is slow, floods, falls silent, is blind, or is wrong."""
    checks = (_refused(state), _errors(state.now), *_beside(state), _blind(state), _wrong(state))
    found = next((verdict for verdict in checks if verdict.yes), None)
    if found is not None:
        return found
    v = state.now
    return Verdict(False, f"{v.batches:,} batches, {v.errors} errors, {v.opened} risks told, {v.came_true} came true")


def _refused(state: ServingState) -> Verdict:
    return Verdict(bool(state.refused), f"it cannot be loaded: {state.refused}")


def _errors(now: Vitals) -> Verdict:
    last = f" ({now.last_error})" if now.last_error else ""
    if now.errors and not now.batches:
        return Verdict(True, f"no predictor can take it up{last}")
    share = now.errors / max(now.batches, 1)
    return Verdict(
        now.errors >= LEAST_ERRORS and share >= ERROR_SHARE, f"{now.errors} of {now.batches} batches failed{last}"
    )


def _beside(state: ServingState) -> tuple[Verdict, ...]:
    if state.before is None:
        return ()
    return _slow(state.now, state.before), _floods(state.now, state.before), _silent(state.now, state.before)


def _slow(now: Vitals, before: Vitals) -> Verdict:
    if now.p99_seconds is None or before.p99_seconds is None or min(now.batches, before.batches) < LEAST_BATCHES:
        return Verdict(False, "")
    slow = now.p99_seconds > max(LATENCY_SECONDS, LATENCY_RATIO * before.p99_seconds)
    return Verdict(slow, f"a batch takes {now.p99_seconds:.2f} s (p99), it took {before.p99_seconds:.2f} s before")


def _floods(now: Vitals, before: Vitals) -> Verdict:
    """Alarms a row against those before, as the conditional test of two Poisson rates (Przyborowski, Wilenski 1940).

    What came true is no false alarm: a bad day is not the model's fault. Half an alarm is added to the past, so that
    a past without any still gives a rate.
    """
    alarms = now.opened - now.came_true
    if min(now.rows, before.rows) < LEAST_ROWS or alarms < LEAST_ALARMS:
        return Verdict(False, "")
    past = max(before.opened - before.came_true, 0) + 0.5
    ratio = (alarms / now.rows) / (past / before.rows)
    expected_share = ALARM_RATIO * now.rows / (ALARM_RATIO * now.rows + before.rows)
    total = alarms + round(past)
    by_chance = 1.0 - at_most(alarms - 1, total, expected_share)
    return Verdict(
        ratio > ALARM_RATIO and by_chance < ALARM_CHANCE,
        f"{alarms} risks told that have not come true, {ratio:.0f} times as many a row as before",
    )


def _silent(now: Vitals, before: Vitals) -> Verdict:
    if min(now.rows, before.rows) < LEAST_ROWS:
        return Verdict(False, "")
    share, usual = now.abstained / now.rows, before.abstained / before.rows
    return Verdict(share - usual >= ABSTENTION_RISE, f"of {share:.0%} of the rows nothing is said, it was {usual:.0%}")


def _blind(state: ServingState) -> Verdict:
    """It sees far fewer synthetic degradations than models before it did: no need to wait until it misses real ones."""
    now, before = state.smoke, state.smoke_before
    if min(now.injected, before.injected) < LEAST_TRIALS:
        return Verdict(False, "")
    usual = before.detected / before.injected
    return Verdict(
        at_most(now.detected, now.injected, SMOKE_SHARE * usual) < DECAY_CHANCE,
        f"it sees {now.detected} of {now.injected} synthetic degradations, models before it saw {usual:.0%}",
    )


def _wrong(state: ServingState) -> Verdict:
    found = decay(state.realised, state.promised, LEAST_EPISODES, DECAY_CHANCE)
    return Verdict(found.yes, f"since it serves: {found.reason}")

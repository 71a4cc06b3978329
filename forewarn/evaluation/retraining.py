"""Whether to train again: a pure function over drift, new outcomes and the age of the champion."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.evaluation.promotion import Verdict

MAX_AGE = timedelta(days=7)
COOLDOWN = timedelta(hours=6)
DRIFTED_SHARE = 0.4
NEW_OUTCOMES = 20


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What is known when the question is asked. Times of one clock; None: it never happened.

    drifted_share: share of features whose distribution moved, of the newest drift report after the champion was
    trained. new_outcomes: predictions resolved since then.
    """

    now: datetime
    last_training: datetime | None
    champion_trained_at: datetime | None
    drifted_share: float | None
    new_outcomes: int


def should_retrain(state: Lifecycle) -> Verdict:
    """Train where drift, enough new outcomes or age ask for it, at most once in COOLDOWN.

    Without a champion the first training is a person's decision (the demo's, an operator's): there is no history
    that anyone vouched for.
    """
    if state.champion_trained_at is None:
        return Verdict(False, "no champion yet: start the job 'train' once there are some days of history")
    if state.last_training is not None and state.now - state.last_training < COOLDOWN:
        return Verdict(False, f"trained {_hours(state.now - state.last_training)} ago; one cause, one training")
    if state.drifted_share is not None and state.drifted_share >= DRIFTED_SHARE:
        return Verdict(True, f"{state.drifted_share:.0%} of the features drifted (from {DRIFTED_SHARE:.0%} on)")
    if state.new_outcomes >= NEW_OUTCOMES:
        return Verdict(True, f"{state.new_outcomes} predictions resolved since the last training")
    age = state.now - state.champion_trained_at
    if age >= MAX_AGE:
        return Verdict(True, f"the champion is {_hours(age)} old")
    return Verdict(False, f"champion {_hours(age)} old, {state.new_outcomes} new outcomes, no drift worth it")


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h"

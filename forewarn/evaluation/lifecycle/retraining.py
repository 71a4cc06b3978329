"""Whether to train again: on drift, decay, new labels, a new kind of entity, or age; one cause, one training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from forewarn.evaluation.lifecycle.evidence import Promised, Realised, decay
from forewarn.evaluation.promotion import Verdict

MAX_AGE = timedelta(days=7)
COOLDOWN = timedelta(hours=6)
DRIFTED_SHARE = 0.4
WORSE_BY = 0.2  # a drift that a training did not end asks for another one only when it has grown by so much
NEW_LABELS = 20
LEAST_EPISODES = 10
CHANCE = 0.01
MOST_ATTEMPTS = 4  # trainings that failed in a row: then a person must look


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Share of the features that had moved over all rows when the report was made.

    moved: signals that lie, for what the load asks of them, where they lay on no day that was learned from, by how
    much of their limit (`level_shift`).
    """

    at: datetime
    share: float
    moved: Mapping[str, float] = field(default_factory=dict)

    @property
    def drifted(self) -> bool:
        """Whether the report shows a drift."""
        return self.share >= DRIFTED_SHARE or bool(self.moved)

    def __str__(self) -> str:
        told = [f"{name} by {100 * shift:+.1f} % of its limit" for name, shift in list(self.moved.items())[:3]]
        more = f" and {len(self.moved) - 3} more" if len(self.moved) > 3 else ""
        signals = f"{'; '.join(told)}{more} moved for good" if told else ""
        rows = f"{self.share:.0%} of the features drifted" if self.share >= DRIFTED_SHARE or not told else ""
        return "; ".join(part for part in (rows, signals) if part)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What is known when the question is asked. Wall-clock times of one clock; None: it never happened.

    last_training: when the newest version was made. failed_since: trainings that failed since then, and last_attempt
    when the last of all trainings began. drift: all reports, oldest first. new_labels: predictions resolved, failures
    seen and feedback given about what happened after the newest version's data. realised: the ledger of that time.
    new_kinds: signals with a limit that the newest version has not learned from and that have history enough.
    namespace: what the newest version was trained on. rolled_back: the newest version, where it was rolled back and the
    first-day model serves in its place.
    """

    now: datetime
    champion_trained_at: datetime | None
    last_training: datetime | None
    last_attempt: datetime | None = None
    running: bool = False
    failed_since: int = 0
    drift: Sequence[DriftReport] = field(default_factory=tuple)
    new_labels: int = 0
    realised: Realised = field(default_factory=Realised)
    promised: Promised = field(default_factory=Promised)
    new_kinds: Sequence[str] = ()
    namespace: str | None = None
    rolled_back: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose."""

    max_age: timedelta = MAX_AGE
    cooldown: timedelta = COOLDOWN
    new_labels: int = NEW_LABELS


def should_retrain(state: Lifecycle, policy: Policy | None = None) -> Verdict:
    """Train where a cause asks for it, at most once in a cooldown, and never two at a time.

    Without a champion the first training is a person's decision (the demo's, an operator's): there is no history
    that anyone vouched for. A training that failed is tried again after twice the cooldown, then four times …
    """
    policy = policy or Policy()
    if state.champion_trained_at is None:
        return Verdict(False, "no champion yet: start the job 'train' once there are some days of history")
    waiting = _must_wait(state, policy)
    if waiting:
        return Verdict(False, waiting)
    for asked in (
        _rolled_back(state),
        _drift(state),
        _decay(state),
        _new_kinds(state),
        _labels(state, policy),
        _age(state, policy),
    ):
        if asked.yes:
            return asked
    age = _hours(state.now - state.champion_trained_at)
    return Verdict(False, f"champion {age} old, {state.new_labels} new labels, {_drift(state).reason}, no decay")


def _rolled_back(state: Lifecycle) -> Verdict:
    """Asked once: a training makes a newer version, whatever becomes of that."""
    return Verdict(bool(state.rolled_back), f"{state.rolled_back} was rolled back, the first-day model serves")


def _must_wait(state: Lifecycle, policy: Policy) -> str:
    if state.running:
        return "a training is running"
    if state.failed_since >= MOST_ATTEMPTS:
        return f"{state.failed_since} trainings failed in a row: see why in Dagster, then start the job 'train' by hand"
    last = max((t for t in (state.last_training, state.last_attempt) if t is not None), default=None)
    wait = policy.cooldown * 2**state.failed_since
    if last is not None and state.now - last < wait:
        what = f"{state.failed_since} failed, the last" if state.failed_since else "trained"
        return f"{what} {_hours(state.now - last)} ago, again after {_hours(wait)} at the earliest"
    return ""


def drift_since(reports: Sequence[DriftReport]) -> int | None:
    """Index of the report with which the drift of the newest report began; None where that one shows no drift."""
    first = None
    for k in range(len(reports) - 1, -1, -1):
        if not reports[k].drifted:
            break
        first = k
    return first


def _drift(state: Lifecycle) -> Verdict:
    """One drift is an unbroken row of reports that show it; a training after its beginning has answered it."""
    first = drift_since(state.drift)
    if first is None:
        return Verdict(False, "no drift worth it")
    newest = state.drift[-1]
    answered = state.last_training
    if answered is None or answered < state.drift[first].at:
        return Verdict(True, str(newest))
    before = [report for report in state.drift[first:] if report.at <= answered]
    if newest.at > answered and _has_grown(newest, before):
        return Verdict(True, f"{newest}; it has grown since the last training")
    return Verdict(False, f"{newest}, answered by the last training")


def _has_grown(newest: DriftReport, before: Sequence[DriftReport]) -> bool:
    known = {name for report in before for name in report.moved}
    return bool(set(newest.moved) - known) or newest.share >= max(
        DRIFTED_SHARE, WORSE_BY + max(report.share for report in before)
    )


def _decay(state: Lifecycle) -> Verdict:
    found = decay(state.realised, state.promised, LEAST_EPISODES, CHANCE)
    return Verdict(found.yes, f"decay since the last training: {found.reason}")


def _new_kinds(state: Lifecycle) -> Verdict:
    names = ", ".join(sorted(state.new_kinds)[:3]) + (" …" if len(state.new_kinds) > 3 else "")
    return Verdict(bool(state.new_kinds), f"new kinds of signals with a limit: {names}")


def _labels(state: Lifecycle, policy: Policy) -> Verdict:
    return Verdict(state.new_labels >= policy.new_labels, f"{state.new_labels} new labels since the last training")


def _age(state: Lifecycle, policy: Policy) -> Verdict:
    """By the newest version, not by the champion: a champion that beats all later ones is no cause to train."""
    made = state.last_training or state.champion_trained_at
    assert made is not None
    return Verdict(state.now - made >= policy.max_age, f"the last training is {_hours(state.now - made)} ago")


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h"

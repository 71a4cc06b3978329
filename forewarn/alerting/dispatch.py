"""The decision about all messages at one moment: a pure function of the incidents, what was told, and the policy.

It is level-triggered: asked again at any time, also after a crash, it comes to the same answer from the same tables.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from forewarn.alerting.gates import Hold, group_key, held_by, timing_of, with_inhibitors
from forewarn.alerting.messages import OPENINGS, Message, batch_id_of, message_id_of
from forewarn.alerting.plans import STATEFUL, Plan, plan, summary_told
from forewarn.alerting.situation import Case, ChannelState, Decision, Outcome, Situation, earliest
from forewarn.incidents.paging import CLOSINGS

_SEVERITY_ORDER = {"critical": 0, "warning": 1, "info": 2}
_WITHOUT_ROW = ("updated",)  # news that is not worth keeping: the next version tells it


def decide(cases: Sequence[Case], situation: Situation) -> Outcome:
    """What becomes of every message about these cases now."""
    situation = with_inhibitors(situation)
    decisions: list[Decision] = []
    wakes: list[datetime | None] = []
    withheld: dict[str, str] = {}
    for case in sorted(cases, key=lambda c: _SEVERITY_ORDER.get(c.incident.severity, 3)):
        plans = plan(case, situation.policy, situation.now)
        mine = [_gated(p, case, situation) for p in plans.plans]
        decisions += [d for d in mine if d.verdict == "send" or d.reason not in _WITHOUT_ROW]
        decisions += _overtaken(case, plans.plans)
        wakes += [plans.wake_at, *(d.due for d in mine)]
        if not plans.plans:
            withheld[case.incident.incident_id] = plans.nothing
    decisions = _in_groups(decisions, cases, situation)
    decisions = _rate_limited(decisions, cases, situation)
    wakes += [d.due for d in decisions]
    return Outcome(tuple(_batched(decisions, situation)), earliest(*wakes), withheld)


def _gated(plan: Plan, case: Case, situation: Situation) -> Decision:
    hold = held_by(plan, case, situation)
    decision = Decision(
        case.incident.incident_id, case.incident.version, plan.channel, plan.reason, plan.sequence, "send",
        _why(plan, case, situation), route=plan.route.path, group_key=group_key(plan, case),
        told=summary_told(case.incident),
    )  # fmt: skip
    return decision if hold is None else _held(decision, hold)


def _held(decision: Decision, hold: Hold) -> Decision:
    return replace(decision, verdict="hold", why=hold.why, code=hold.code, due=hold.until)


def _why(plan: Plan, case: Case, situation: Situation) -> str:
    """Why it is told now, and what had held it until now."""
    parts = [plan.why]
    timing = timing_of(plan, case, situation)
    waited = next((m for m in case.held(plan.channel) if m.reason == plan.reason), None)
    if timing is not None and timing[1]:
        parts.append(timing[1])
    elif waited is not None and waited.held_for not in (None, "group_wait", "group_interval"):
        parts.append(f"held before: {waited.why}")
    return "; ".join(parts)


def _overtaken(case: Case, plans: Iterable[Plan]) -> list[Decision]:
    """Messages that were held and are no longer planned."""
    wanted = {(p.channel, p.reason, p.sequence) for p in plans}
    return [
        Decision(m.incident_id, case.incident.version, m.channel, m.reason, m.sequence, "drop", _overtaken_by(case, m))
        for m in case.held()
        if (m.channel, m.reason, m.sequence) not in wanted
    ]


def _overtaken_by(case: Case, message: Message) -> str:
    was = f"it was held ({message.why})" if message.why else "it was held"
    if case.is_open:
        return f"{was}, and meanwhile the incident is {case.incident.state}"
    if message.reason in CLOSINGS:
        return f"{was}, and the incident went on"
    return f"{was} until the incident was {case.incident.state}: nobody was told that it was open"


def _in_groups(decisions: list[Decision], cases: Sequence[Case], situation: Situation) -> list[Decision]:
    """What waits for a group that is told now goes with it."""
    flushed = {d.group_key for d in decisions if d.verdict == "send"}
    return [
        replace(d, verdict="send", code=None, due=None, why="told with its group")
        if d.verdict == "hold" and d.code == "group_wait" and d.group_key in flushed
        else d
        for d in decisions
    ]


def _rate_limited(decisions: list[Decision], cases: Sequence[Case], situation: Situation) -> list[Decision]:
    """Beyond a channel's limit messages are held and summed up in a digest."""
    waiting = {m.message_id for case in cases for m in case.held() if m.held_for == "rate_limit"}
    by_channel: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_channel[decision.channel].append(decision)
    limited = {channel: _of_channel(channel, mine, waiting, situation) for channel, mine in by_channel.items()}
    order = {id(d): n for n, d in enumerate(decisions)}
    pairs = [(order[id(old)], new) for c, mine in by_channel.items() for old, new in zip(mine, limited[c], strict=True)]
    return [new for _, new in sorted(pairs, key=lambda pair: pair[0])]


def _of_channel(channel: str, decisions: list[Decision], waiting: set[str], situation: Situation) -> list[Decision]:
    spec = situation.policy.channels.get(channel)
    limit = spec.rate_limit if spec is not None else None
    if spec is None or limit is None:
        return decisions
    state, now = situation.channels.get(channel, ChannelState()), situation.now
    used = sum(t > now - limit.per for t in state.released)
    groups: set[str] = set()
    digest_at = _digest_at(state, situation, channel)
    result = []
    for decision in decisions:
        lifecycle = spec.kind in STATEFUL and decision.reason not in OPENINGS
        exempt = lifecycle or decision.reason == "updated"  # which disturbs nobody
        if decision.verdict != "send" or exempt:
            result.append(decision)
            continue
        waited = _id(decision) in waiting
        if waited and now >= digest_at:
            result.append(
                replace(decision, code="rate_limit", why=f"{decision.why}; in a digest: {_words(channel, situation)}")
            )
        elif not waited and (used < limit.messages or decision.group_key in groups):
            used += decision.group_key not in groups
            groups.add(decision.group_key)
            result.append(decision)
        else:
            due = digest_at if waited or state.rate_held_at else now + limit.digest_every
            result.append(_held(decision, Hold("rate_limit", _words(channel, situation), due)))
    return result


def _digest_at(state: ChannelState, situation: Situation, channel: str) -> datetime:
    limit = situation.policy.channels[channel].rate_limit
    assert limit is not None
    since = state.rate_held_at or situation.now
    return max(since, state.digest_at or since) + limit.digest_every


def _words(channel: str, situation: Situation) -> str:
    limit = situation.policy.channels[channel].rate_limit
    assert limit is not None
    minutes = limit.per.total_seconds() / 60
    return f"channel {channel} takes at most {limit.messages} messages in {minutes:g} min"


def _id(decision: Decision) -> str:
    return message_id_of(decision.incident_id, decision.channel, decision.reason, decision.sequence)


def _batched(decisions: list[Decision], situation: Situation) -> list[Decision]:
    """Messages of several incidents that leave a channel in one group, or in a digest, are one."""
    groups: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.verdict == "send" and _kind(decision, situation) not in ("alertmanager", "webhook"):
            key = "digest" if decision.code == "rate_limit" else decision.group_key
            groups[decision.channel, key].append(decision)
    batch_of: dict[int, str] = {}
    for (_, key), mine in groups.items():
        if len({d.incident_id for d in mine}) > 1 or key == "digest":
            batch = batch_id_of([_id(d) for d in mine])
            batch_of |= {id(d): batch for d in mine}
    return [replace(d, batch_id=batch_of[id(d)]) if id(d) in batch_of else d for d in decisions]


def _kind(decision: Decision, situation: Situation) -> str:
    spec = situation.policy.channels.get(decision.channel)
    return spec.kind if spec is not None else ""

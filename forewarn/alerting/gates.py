"""What holds a message back: silences, maintenance, inhibition, cooldown, working hours and grouping."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from forewarn.alerting.matching import matches
from forewarn.alerting.messages import OPENINGS
from forewarn.alerting.plans import STATEFUL, Plan
from forewarn.alerting.policy import Inhibition
from forewarn.alerting.situation import Case, GroupState, Situation, earliest
from forewarn.alerting.timing import when_to_tell
from forewarn.incidents.modes import words_of
from forewarn.incidents.paging import CLOSINGS


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. code: see Decision. until: when it is worth deciding again, None: when something happens."""

    code: str
    why: str
    until: datetime | None


Gate = Callable[[Plan, Case, Situation], Hold | None]


def held_by(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    """The first gate that is shut; None where the message may go."""
    kind = situation.policy.channels[plan.channel].kind if plan.channel in situation.policy.channels else ""
    if kind in STATEFUL and plan.reason in (*CLOSINGS, "acknowledged"):
        return None  # whoever keeps a page open must hear that it is over
    return next((hold for gate in _GATES if (hold := gate(plan, case, situation)) is not None), None)


def group_key(plan: Plan, case: Case) -> str:
    """Messages with the same key leave together, as one."""
    values = []
    for name in plan.route.group_by:
        value = case.incident.incident_id if name == "incident" else "" if name == "all" else case.labels.get(name, "")
        values.append(f"{name}={value}")
    return f"{plan.channel}|{plan.route.path}|{','.join(values)}"


def _silence(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    for silence in situation.silences:
        if silence.covers(case.labels, situation.now):
            text = f"silenced by {silence.author} until {silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.reason}"
            return Hold("silence", text, silence.ends_at)
    return None


def _maintenance(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    for window in situation.windows:
        ends = window.ends_at(situation.now) if matches(window.match, case.labels) else None
        if ends is not None:
            comment = f": {window.comment}" if window.comment else ""
            return Hold("maintenance", f"maintenance '{window.name}' until {ends:%Y-%m-%d %H:%M} UTC{comment}", ends)
    return None


def _inhibited(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    if plan.reason in CLOSINGS:
        return None
    for rule, sources in situation.inhibitors:
        if not sources or not matches(rule.target, case.labels):
            continue
        for other in sources:
            if _inhibits(rule, other, case, situation):
                text = f"inhibited by '{rule.name}': {other.incident.title} ({other.incident.severity})"
                return Hold("inhibited", f"{text}, incident {other.incident.incident_id}", None)
    return None


def with_inhibitors(situation: Situation) -> Situation:
    """With the open cases that can inhibit, found once for all decisions."""
    cases = [c for c in situation.open_cases if c.is_open]
    found = [(rule, [c for c in cases if matches(rule.source, c.labels)]) for rule in situation.policy.inhibit]
    return replace(situation, inhibitors=found)


def _inhibits(rule: Inhibition, source: Case, target: Case, situation: Situation) -> bool:
    if source.incident.incident_id == target.incident.incident_id:
        return False
    if any(source.labels.get(name, "") != target.labels.get(name, "") for name in rule.equal):
        return False
    if not rule.upstream:
        return True
    one, other = target.incident, source.incident
    words = words_of(one.mode, one.signal)
    if other.failed_at is None and not words.feels(words_of(other.mode, other.signal)):
        return False  # a disk that is not full yet uses up nobody's connections
    hops = situation.hops(one.entity, other.entity)
    return hops is not None and 0 < hops <= words.calls_from_cause


def _cooldown(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    incident, cooldown = case.incident, plan.route.cooldown
    ended = situation.ended.get((plan.channel, incident.entity, incident.mode))
    if (
        incident.state == "firing"
        or plan.reason not in ("opened", "reopened")
        or ended is None
        or situation.now >= ended + cooldown
    ):
        return None
    until = ended + cooldown
    return Hold("cooldown", f"the last one like it ended {ended:%H:%M} UTC: not again before {until:%H:%M} UTC", until)


def _working_hours(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    timing = timing_of(plan, case, situation)
    return None if timing is None or timing[0] is None else Hold("working_hours", timing[1], timing[0])


def timing_of(plan: Plan, case: Case, situation: Situation) -> tuple[datetime | None, str] | None:
    """Until when working hours hold it (None: they do not) and the numbers; None where they are not asked."""
    spec, incident = situation.policy.working_hours, case.incident
    asked = plan.reason in (*OPENINGS, "raised", "repeated") and plan.route.timing == "by_decision"
    if spec is None or not asked:
        return None
    ttf = incident.time_to_failure if incident.state == "predicted" else None
    fix = situation.fix_times.of(incident.mode)
    elapsed = situation.elapsed_seconds(incident)
    timing = when_to_tell(ttf, elapsed, situation.now, spec.calendar(), fix, spec.accepted_risk)
    return timing.until, timing.why


def _grouping(plan: Plan, case: Case, situation: Situation) -> Hold | None:
    state, route, now = situation.groups.get(group_key(plan, case), GroupState()), plan.route, situation.now
    if state.flushed_at is not None and now < (next_flush := state.flushed_at + route.group_interval):
        text = f"its group was told {state.flushed_at:%H:%M:%S} UTC: not again before {next_flush:%H:%M:%S}"
        return Hold("group_interval", text, next_flush)
    first = earliest(state.first_held_at, now) or now
    if now < (ready := first + route.group_wait):
        return Hold("group_wait", f"waits for others of its group until {ready:%H:%M:%S} UTC", ready)
    return None


_GATES: tuple[Gate, ...] = (_silence, _maintenance, _inhibited, _cooldown, _working_hours, _grouping)

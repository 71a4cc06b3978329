"""What each channel should hear of an incident, before anything holds it back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from forewarn.alerting.matching import matches
from forewarn.alerting.messages import OPENINGS, Message
from forewarn.alerting.policy import Policy, Route
from forewarn.alerting.situation import Case, earliest
from forewarn.incidents.paging import Verdict, should_page
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_duration

_RANK = {"info": 0, "warning": 1, "critical": 2}
_NO_ROUTE = Route("route", {})
EDITING = ("slack", "alertmanager", "webhook")  # kinds that are told new numbers, in the place of the old ones
ANSWERED = ("slack", "pagerduty", "webhook")  # kinds that are told that somebody answered
STATEFUL = ("pagerduty", "alertmanager", "webhook")  # kinds that keep a state of their own and must hear the end


@dataclass(frozen=True, slots=True)
class Plan:
    """A message that should go to a channel. why: in words, for audit and message."""

    channel: str
    reason: str
    why: str
    route: Route
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Plans:
    """wake_at: when time alone will make another plan. nothing: why there is none."""

    plans: tuple[Plan, ...]
    wake_at: datetime | None
    nothing: str
    routes: Mapping[str, Route] = field(default_factory=dict)


def plan(case: Case, policy: Policy, now: datetime) -> Plans:
    """What is to be told of a case now; each channel hears each state once, an end only if it heard the beginning."""
    routes = _by_channel(policy.routes_of(case.labels))
    wakes: list[datetime | None] = []
    why_not: list[str] = []
    plans: list[Plan] = []
    concerned = dict.fromkeys([*(routes if case.is_open else ()), *case.channels_told])
    for channel in (c for c in concerned if c in policy.channels):
        route = routes.get(channel, _NO_ROUTE)
        verdict = _verdict(case, channel, route)
        if verdict.page:
            number = case.states_told(channel).count(verdict.message)  # of an end that is told again
            plans.append(Plan(channel, verdict.message, verdict.reason, route, number))
            continue
        why_not.append(verdict.reason)
        follow = _follow_up(case, channel, policy.channels[channel].kind, route)
        if follow is not None:
            plans.append(follow)
        elif case.is_open and case.standing_answer is None:
            repeat, at = _repeat(case, channel, route, now)
            plans += [repeat] if repeat is not None else []
            wakes.append(at)
    escalations, at = _escalations(case, routes, {p.channel for p in plans}, now)
    nothing = "; ".join(dict.fromkeys(why_not)) or "no route takes it"
    return Plans((*plans, *escalations), earliest(at, *wakes), nothing, routes)


def summary_told(incident: Incident) -> dict[str, object]:
    """What a message says, to compare later versions with."""
    ttf = incident.time_to_failure
    left = ttf.p50 if ttf is not None else None
    return {
        "entity": incident.entity, "mode": incident.mode, "severity": incident.severity, "title": incident.title,
        "state": incident.state, "left_seconds": left,
        "at": incident.counts_from.timestamp(),
    }  # fmt: skip


def _by_channel(routes: list[Route]) -> dict[str, Route]:
    found: dict[str, Route] = {}
    for route in routes:
        for channel in route.channels:
            found.setdefault(channel, route)
    return found


def _verdict(case: Case, channel: str, route: Route) -> Verdict:
    """Severity info is told only by a route that asks for it by name."""
    incident, heard = case.incident, (case.states_told(channel), case.last_state_told(channel))
    asked = "severity" in route.match and matches({"severity": route.match["severity"]}, {"severity": "info"})
    if incident.severity == "info" and asked and incident.state == "predicted":
        verdict = should_page(replace(incident, severity="warning"), *heard)
        return replace(verdict, reason="severity info, which the route asks for") if verdict.page else verdict
    return should_page(incident, *heard)


def _follow_up(case: Case, channel: str, kind: str, route: Route) -> Plan | None:
    """News about what the channel knows already: worse, answered, or other numbers."""
    told = case.told(channel)
    if not told:
        return None
    last = told[-1].told
    answer, heard = case.standing_answer, [m for m in told if m.reason == "acknowledged"]
    if answer is not None and case.is_open and kind in ANSWERED and not any(_after(case.opened_at, m) for m in heard):
        return Plan(channel, "acknowledged", f"{answer.verdict} by {answer.author}", route, len(heard))
    if not case.is_open or not last:
        return None
    incident, number = case.incident, 1 + sum(m.reason in ("raised", "updated") for m in told)
    worst = max((str(m.told.get("severity", "info")) for m in told), key=lambda level: _RANK.get(level, 0))
    if _RANK[incident.severity] > _RANK[worst]:
        return Plan(channel, "raised", f"severity {worst} became {incident.severity}", route, number)
    if kind in EDITING and (incident.title != last.get("title") or _moved(incident, last)):
        return Plan(channel, "updated", "cause, severity or time left are others now", route, number)
    return None


def _after(opened_at: datetime | None, message: Message) -> bool:
    return opened_at is None or message.created_at is None or message.created_at >= opened_at


def _moved(incident: Incident, last: Mapping[str, object]) -> bool:
    """Whether the expected moment moved by more than a quarter of the time that was left, or the severity fell."""
    ttf, left, at = incident.time_to_failure, last.get("left_seconds"), last.get("at")
    if incident.severity != last.get("severity"):
        return True
    if ttf is None or ttf.p50 is None or not isinstance(left, int | float) or not isinstance(at, int | float):
        return (ttf is None or ttf.p50 is None) != (left is None)
    moved = abs(incident.counts_from.timestamp() + ttf.p50 - (at + left))
    return moved > max(0.25 * min(left, ttf.p50), 60.0)


def _repeat(case: Case, channel: str, route: Route, now: datetime) -> tuple[Plan | None, datetime | None]:
    """The same again after repeat_interval, as long as nobody answers."""
    told = case.told(channel)
    sent = [m.released_at or m.created_at for m in told]
    last = max((t for t in sent if t is not None), default=None)
    if not route.repeat_interval or last is None:
        return None, None
    due = last + route.repeat_interval
    if now < due:
        return None, due
    number = 1 + sum(m.reason == "repeated" for m in told)
    every = format_duration(route.repeat_interval.total_seconds())
    return Plan(channel, "repeated", f"still open after {every} without an answer", route, number), None


def _escalations(
    case: Case, routes: Mapping[str, Route], planned: set[str], now: datetime
) -> tuple[list[Plan], datetime | None]:
    """Further channels where nobody has answered for so long."""
    if not case.is_open or case.standing_answer is not None:
        return [], None
    plans: dict[str, Plan] = {}
    wakes = []
    reason = "failed" if case.incident.state == "firing" else "opened"
    for route in {r.path: r for r in routes.values()}.values():
        since = case.waiting_since(route.channels)
        for step in route.escalate if since is not None else ():
            assert since is not None
            left = [c for c in step.to if not set(OPENINGS) & set(case.states_told(c)) and c not in planned]
            if left and now < since + step.after:
                wakes.append(since + step.after)
            elif left:
                text = f"escalated: nobody has answered for {format_duration(step.after.total_seconds())}"
                plans.update({c: Plan(c, reason, text, route) for c in left})
    return list(plans.values()), earliest(*wakes)

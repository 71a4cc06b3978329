"""Whether a response is proposed for an incident, and whether one that may run must still wait; pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.alerting.matching import describe, matches
from forewarn.alerting.responses.response import Limit, Response
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_duration, format_share


@dataclass(frozen=True, slots=True)
class Start:
    """A run that was begun. at: its end, or its begin while it runs (wall clock)."""

    response: str
    entity: str
    started_at: datetime
    at: datetime
    running: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Why what may run does not yet. code: 'commands_off', 'no_secret', 'busy', 'cooldown', 'rate_limit', 'silence',
    'maintenance'."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class World:
    """What running depends on beside the response. now: wall clock. hushed: a silence or maintenance of the entity."""

    now: datetime
    starts: Sequence[Start]
    limits: Limit
    commands: bool
    secrets: frozenset[str]
    hushed: Hold | None = None


def misfit(response: Response, incident: Incident, labels: Mapping[str, str], probability: float) -> str | None:
    """Why the response is not for this incident; None where it is, as far as no condition is asked."""
    if incident.state not in OPEN_STATES:
        return f"the incident is {incident.state}"
    if not matches(response.match, labels):
        return f"it does not match {describe(response.match)}"
    if probability < response.min_probability:
        return f"the probability is {format_share(probability)}, below {format_share(response.min_probability)}"
    return None


def hold_of(response: Response, entity: str, automatic: bool, world: World) -> Hold | None:
    """The first reason why it must wait; None where it may run now."""
    if response.kind == "command" and not world.commands:
        return Hold("commands_off", "commands are off: set FOREWARN_RESPONSE_COMMANDS=true for the alerter")
    missing = sorted(set(response.secrets) - world.secrets)
    if missing:
        return Hold("no_secret", f"there is no secret '{missing[0]}' in FOREWARN_RESPONSE_SECRETS")
    busy = next((s for s in world.starts if s.running and s.entity == entity), None)
    if busy is not None:
        return Hold("busy", f"'{busy.response}' runs for {entity}: one at a time")
    if automatic and world.hushed is not None:
        return world.hushed
    return _cooling(response, entity, world) or _limited(response, world)


def _cooling(response: Response, entity: str, world: World) -> Hold | None:
    ends = [s.at for s in world.starts if (s.response, s.entity) == (response.name, entity)]
    until = max(ends) + response.cooldown if ends else world.now
    if until <= world.now:
        return None
    return Hold("cooldown", f"it ran for {entity} within {_length(response.cooldown)}: not before {_time(until)}")


def _limited(response: Response, world: World) -> Hold | None:
    own = [s.started_at for s in world.starts if s.response == response.name]
    for what, limit, begun in (
        ("it", response.limit, own), ("all together", world.limits, [s.started_at for s in world.starts]),
    ):  # fmt: skip
        recent = sorted(at for at in begun if at > world.now - limit.per)
        if len(recent) >= limit.runs:
            until = recent[-limit.runs] + limit.per
            text = f"{what} may run {limit.runs} times in {_length(limit.per)}: not before {_time(until)}"
            return Hold("rate_limit", text)
    return None


def look_back(responses: Sequence[Response], limits: Limit) -> timedelta:
    """How far back starts matter."""
    return max([limits.per, *(max(r.cooldown, r.limit.per) for r in responses)])


def _length(span: timedelta) -> str:
    return format_duration(span.total_seconds())


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

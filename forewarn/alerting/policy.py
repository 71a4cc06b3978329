"""Who is told what, where and when: the contents of the alerting file, checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from forewarn.alerting.calendars import Maintenance, WorkingHours, local_time, zone
from forewarn.alerting.durations import Duration
from forewarn.alerting.matching import BUILT_IN, OWN_PREFIX, check_match, matches

Kind = Literal["console", "email", "slack", "slack_webhook", "pagerduty", "webhook", "alertmanager"]
SECRET_NAME = r"^[a-z0-9][a-z0-9_-]{0,60}$"


def _checked(match: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    check_match(match)
    return match


MatchField = Annotated[dict[str, str | list[str]], AfterValidator(_checked)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RateLimit(_Part):
    """At most `messages` in `per`; what is more is summed up in one message each `digest_every`."""

    messages: int = Field(ge=1)
    per: Duration = timedelta(hours=1)
    digest_every: Duration = timedelta(minutes=5)


class ChannelSpec(_Part):
    """A channel. secret: the name of a setting in FOREWARN_ALERTING_SECRETS; none: the setting of its kind."""

    kind: Kind
    secret: str | None = Field(None, pattern=SECRET_NAME)
    url: str | None = None
    to: str | None = None  # e-mail: recipients; slack: the channel
    rate_limit: RateLimit | None = None

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        import httpx

        try:
            usable = url is None or (httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host))
        except httpx.InvalidURL as error:
            raise ValueError(f"this is no address: {error}") from None
        if not usable:
            raise ValueError("this is no address: write one such as http://alertmanager:9093")
        return url


class Escalation(_Part):
    """Who is told beside the others when nobody has answered for so long."""

    after: Duration
    to: list[str] = Field(min_length=1)


class RouteSpec(_Part):
    """A node of the routing tree; what it does not say is its parent's."""

    name: str | None = None
    match: MatchField = Field(default_factory=dict)
    channels: list[str] | None = None
    group_by: list[str] | None = None
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    cooldown: Duration | None = None
    timing: Literal["immediate", "by_decision"] | None = None
    escalate: list[Escalation] | None = None
    goes_on: bool = Field(False, alias="continue")
    routes: list["RouteSpec"] = Field(default_factory=list)


class Inhibition(_Part):
    """While an incident fits `source`, nobody is told of another that fits `target`.

    equal: labels that both must share. upstream: the target's entity must depend on the source's, by the service graph.
    """

    name: str = "inhibition"
    source: MatchField
    target: MatchField
    equal: list[str] = Field(default_factory=list)
    upstream: bool = False


UPSTREAM = Inhibition(
    name="cause before symptom",
    source={"severity": "critical"},
    target={"severity": ["warning", "info"]},
    upstream=True,
)


class LabelRule(_Part):
    """Labels of the entities that fit: `team: checkout`."""

    match: MatchField
    set: dict[str, str] = Field(min_length=1)

    @field_validator("match")
    @classmethod
    def _of_the_entity(cls, match: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        unknown = set(match) - {"entity", "namespace", "name"}
        if unknown:
            raise ValueError(f"labels are given to entities: match entity, namespace or name, not '{min(unknown)}'")
        return match

    @field_validator("set")
    @classmethod
    def _new_names(cls, labels: dict[str, str]) -> dict[str, str]:
        taken = set(labels) & set(BUILT_IN)
        if taken:
            raise ValueError(f"'{min(taken)}' is a label of Forewarn's own: choose another name")
        return labels


class WorkingHoursSpec(_Part):
    """When people are at work."""

    timezone: Annotated[str, AfterValidator(lambda name: zone(name) and name)]
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = ["mon", "tue", "wed", "thu", "fri"]
    start: Annotated[str, AfterValidator(lambda text: local_time(text) and text)] = Field("09:00", alias="from")
    end: Annotated[str, AfterValidator(lambda text: local_time(text) and text)] = Field("17:00", alias="until")
    holidays: list[date] = Field(default_factory=list)
    accepted_risk: float = Field(0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if local_time(self.start) >= local_time(self.end):
            raise ValueError("'from' must be before 'until' on the same day")
        return self

    def calendar(self) -> WorkingHours:
        """As the decision needs it."""
        days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        return WorkingHours(
            self.timezone, frozenset(days.index(d) for d in self.days), local_time(self.start), local_time(self.end),
            frozenset(self.holidays),
        )  # fmt: skip


class MaintenanceSpec(_Part):
    """A window that may recur; see Maintenance."""

    name: str
    match: MatchField = Field(min_length=1)
    timezone: str = "UTC"
    starts: str
    until: str | None = None
    duration: Duration | None = None
    rrule: str | None = None
    comment: str = ""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        self.window()
        return self

    def window(self) -> Maintenance:
        """Raises ValueError where times or rule cannot be read."""
        return Maintenance.read(
            self.name, self.match, self.timezone, self.starts, self.until, self.duration, self.rrule or "", self.comment
        )


class Policy(_Part):
    """The alerting file. `forewarn.alerting.policy_file` reads it; without one, `default_policy` holds."""

    channels: dict[str, ChannelSpec] = Field(min_length=1)
    route: RouteSpec
    inhibit: list[Inhibition] = Field(default_factory=lambda: [UPSTREAM])
    labels: list[LabelRule] = Field(default_factory=list)
    working_hours: WorkingHoursSpec | None = None
    maintenance: list[MaintenanceSpec] = Field(default_factory=list)
    fix_times: dict[str, Duration] = Field(default_factory=dict)

    def own_labels(self, entity: str) -> dict[str, str]:
        """Labels that the file gives to an entity; a later rule wins."""
        namespace, _, name = entity.rpartition("/")
        built_in = {"entity": entity, "namespace": namespace, "name": name}
        return {k: v for rule in self.labels if matches(rule.match, built_in) for k, v in rule.set.items()}

    def routes_of(self, labels: Mapping[str, str]) -> list["Route"]:
        """The routes that an incident takes: the deepest that fit, the first of siblings unless it says `continue`."""
        return list(_walk(self.route, labels, _ROOT, "route"))

    def known_labels(self) -> set[str]:
        """Names that a matcher may use."""
        own = {name for rule in self.labels for name in rule.set}
        return set(BUILT_IN) | own | {OWN_PREFIX + name for name in own}


@dataclass(frozen=True, slots=True)
class Route:
    """A route with everything that it inherits."""

    path: str
    match: Mapping[str, str | list[str]]
    channels: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ("incident",)
    group_wait: timedelta = timedelta(seconds=0.5)
    group_interval: timedelta = timedelta(0)
    repeat_interval: timedelta = timedelta(0)  # 0: not
    cooldown: timedelta = timedelta(0)
    timing: str = "by_decision"
    escalate: tuple[Escalation, ...] = ()


_ROOT = Route("", {})
_INHERITED = (
    "channels", "group_by", "group_wait", "group_interval", "repeat_interval", "cooldown", "timing", "escalate",
)  # fmt: skip


def _walk(spec: RouteSpec, labels: Mapping[str, str], parent: Route, path: str) -> Iterator[Route]:
    if not matches(spec.match, labels):
        return
    route = _inherit(spec, parent, path)
    found = False
    for number, child in enumerate(spec.routes):
        taken = list(_walk(child, labels, route, f"{path}.{child.name or number}"))
        yield from taken
        found |= bool(taken)
        if taken and not child.goes_on:
            break
    if not found:
        yield route


def _inherit(spec: RouteSpec, parent: Route, path: str) -> Route:
    def value(name: str) -> object:
        own = getattr(spec, name)
        inherited = getattr(parent, name)
        return inherited if own is None else tuple(own) if isinstance(own, list) else own

    values = {name: value(name) for name in _INHERITED}
    return Route(path, {**parent.match, **spec.match}, **values)  # type: ignore[arg-type]

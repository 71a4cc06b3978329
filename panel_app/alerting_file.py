"""The alerting file as the settings page shows it: routes, channels and windows, or why it cannot be used."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forewarn.alerting.defaults import default_policy
from forewarn.alerting.matching import describe
from forewarn.alerting.policy import Policy, RouteSpec
from forewarn.alerting.policy_file import PolicyError, load_policy
from forewarn.alerting.registry import ChannelError, make_channel
from forewarn.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """A channel. problem: why it cannot be used with the settings here, '' where it can. Addresses are not shown."""

    name: str
    kind: str
    to: str
    limit: str
    problem: str


@dataclass(frozen=True, slots=True)
class RouteLine:
    """A node of the routing tree, `depth` deep; steps say who else is told when nobody answers."""

    depth: int
    name: str
    match: str
    channels: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WindowLine:
    """A maintenance window; ends_at: of the one that is on."""

    name: str
    match: str
    rule: str
    comment: str
    ends_at: datetime | None
    next_start: datetime | None


@dataclass(frozen=True, slots=True)
class AlertingFile:
    """What is in force. source: the file's path, '' for the default; problem: why the file cannot be used."""

    source: str
    problem: str = ""
    channels: tuple[ChannelLine, ...] = ()
    routes: tuple[RouteLine, ...] = ()
    windows: tuple[WindowLine, ...] = field(default=())


def policy_in_force(settings: Settings) -> Policy:
    """The alerting file's, or the default. Raises PolicyError, OSError and UnicodeDecodeError."""
    return load_policy(settings.alerting) if settings.alerting else default_policy(settings)


def alerting_file(settings: Settings) -> AlertingFile:
    """Reads the file again when it was written since."""
    path = settings.alerting
    try:
        policy, channels = _read(settings)
    except PolicyError as error:
        return AlertingFile(str(path), str(error))
    except (OSError, UnicodeDecodeError) as error:
        return AlertingFile(str(path), f"{path} cannot be read: {error}")
    windows = tuple(_windows(policy, datetime.now(UTC).replace(second=0, microsecond=0)))
    return AlertingFile(str(path) if path else "", "", channels, tuple(_routes(policy.route, 0)), windows)


_known: dict[tuple[Path | None, int], tuple[Policy, tuple[ChannelLine, ...]]] = {}


def _read(settings: Settings) -> tuple[Policy, tuple[ChannelLine, ...]]:
    key = (settings.alerting, settings.alerting.stat().st_mtime_ns if settings.alerting else 0)
    if key not in _known:
        policy = policy_in_force(settings)
        _known.clear()
        _known[key] = (policy, tuple(_channel(name, policy, settings) for name in policy.channels))
    return _known[key]


def _channel(name: str, policy: Policy, settings: Settings) -> ChannelLine:
    spec, problem = policy.channels[name], ""
    try:
        make_channel(name, spec, settings).close()
    except ChannelError as error:
        problem = str(error)
    limit = f"{spec.rate_limit.messages} in {_span(spec.rate_limit.per)}" if spec.rate_limit else ""
    return ChannelLine(name, spec.kind, spec.to or "", limit, problem)


def _routes(route: RouteSpec, depth: int) -> Iterator[RouteLine]:
    steps = tuple(f"without an answer after {_span(s.after)} also {', '.join(s.to)}" for s in route.escalate or ())
    channels = ", ".join(route.channels) if route.channels is not None else "as above"
    match = describe(route.match) + (" (and on)" if route.goes_on else "")
    yield RouteLine(depth, route.name or "", match, channels or "nobody", steps)
    for child in route.routes:
        yield from _routes(child, depth + 1)


def _windows(policy: Policy, now: datetime) -> Iterator[WindowLine]:
    for spec in policy.maintenance:
        window = spec.window()
        rule = f"{spec.starts} {spec.timezone}" + (f", {spec.rrule}" if spec.rrule else "")
        yield WindowLine(
            spec.name, describe(spec.match), rule, spec.comment, window.ends_at(now), window.next_start(now)
        )


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"

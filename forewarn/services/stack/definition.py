"""What a service of the stack is: its command, when it is ready, what it needs, how it is stopped."""

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Http:
    """Ready when this path answers with a status below 400; over TLS where the server was given a certificate."""

    path: str
    certificate: Path | None = None


@dataclass(frozen=True)
class Tcp:
    """Ready when the port accepts a connection."""


@dataclass(frozen=True)
class Marker:
    """Ready when this text is in the log of this start."""

    text: str


@dataclass(frozen=True)
class Alive:
    """Ready when it has not ended after this time."""

    seconds: float = 1.0


@dataclass(frozen=True)
class Exits:
    """A step that runs once: ready when it has ended with status 0."""


Ready = Http | Tcp | Marker | Alive | Exits


@dataclass(frozen=True)
class Service:
    """One process. Texts in braces in `command` are filled from the stack's values: {python}, {gateway_port} …

    `group`: a second name that `--only` and `--without` understand. `module`: what must be importable, else the
    service is skipped. `restart_with`: services whose restart makes this one start anew. `stops_after`: services that
    are stopped before this one, because it reads what they write. `address`: what people see. `loss`: what its end
    costs, to be said when it happens.
    """

    name: str
    title: str
    command: tuple[str, ...]
    ready: Ready
    port: int | None = None
    address: str = ""
    group: str = ""
    module: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    restart_with: tuple[str, ...] = ()
    stops_after: tuple[str, ...] = ()
    start_timeout_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_seconds: float = 10.0
    advice: str = ""
    memory_limit_bytes: int | None = None
    loss: str = ""


def select(services: Iterable[Service], only: Iterable[str], without: Iterable[str]) -> list[Service]:
    """The services asked for by name or group, with all that they depend on.

    `without` also leaves out who depends on what is left out. Raises ValueError for a name that no service has.
    """
    table = list(services)
    wanted, unwanted = set(only), set(without)
    names = {s.name for s in table} | {s.group for s in table if s.group}
    unknown = sorted((wanted | unwanted) - names)
    if unknown:
        raise ValueError(f"no service is called {', '.join(unknown)}; there are: {', '.join(sorted(names))}")
    kept = {s.name for s in table if not wanted or {s.name, s.group} & wanted}
    for service in reversed(table):
        if service.name in kept:
            kept |= set(service.depends_on)
    dropped = {s.name for s in table if {s.name, s.group} & unwanted}
    for service in table:
        if set(service.depends_on) & dropped:
            dropped.add(service.name)
    return [s for s in table if s.name in kept - dropped]

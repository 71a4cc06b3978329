"""Finds the stack that runs on this machine, so that commands here need no addresses."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from forewarn.config.settings import Settings

STATE_FILE = "stack.json"


@dataclass(frozen=True)
class ServiceState:
    """One process of the stack, as its supervisor saw it last.

    `phase`: waiting, starting, ready, done (a step that ran once), restarting, stopping, stopped, failed, skipped.
    Times are Unix seconds of the wall clock.
    """

    name: str
    title: str
    phase: str
    pid: int | None = None
    address: str = ""
    started_at: float | None = None
    ready_seconds: float | None = None
    restarts: int = 0
    detail: str = ""
    log: str = ""


@dataclass(frozen=True)
class StackState:
    """What `stack.json` holds: who supervises, what runs where, and the environment that clients need.

    `phase`: starting, ready, stopping, failed. The file holds the database's password, therefore only its owner may
    read it.
    """

    pid: int
    pid_created_at: float
    stack_id: str
    home: str
    phase: str
    started_at: float
    version: str
    environment: dict[str, str] = field(default_factory=dict)
    services: tuple[ServiceState, ...] = ()
    notices: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> bytes:
        """The content of the state file."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises ValueError, KeyError or TypeError where the text is not such a state."""
        raw: dict[str, Any] = json.loads(text)
        services = tuple(ServiceState(**each) for each in raw.pop("services"))
        return cls(**{**raw, "services": services, "notices": tuple(raw["notices"])})

    def service(self, name: str) -> ServiceState | None:
        """The service of this name."""
        return next((s for s in self.services if s.name == name), None)


def read_state(home: Path) -> StackState | None:
    """The state file's content, whether or not its stack is still alive; None where there is none to be read."""
    try:
        return StackState.from_json((home / STATE_FILE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running(home: Path) -> StackState | None:
    """The stack that runs on this home, or None."""
    state = read_state(home)
    if state is None or not _is_alive(state.pid, state.pid_created_at):
        return None
    return state


def _is_alive(pid: int, created_at: float) -> bool:
    """A process id alone does not tell: it may have been given to another process since."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return abs(process.create_time() - created_at) < 2 and process.status() != psutil.STATUS_ZOMBIE
    return False


def client_settings(home: Path | None = None) -> Settings:
    """Settings for a command on this machine.

    Precedence: environment and `.env`, then the addresses of the stack that runs on the home, then defaults.
    """
    settings, _ = settings_with_sources(home)
    return settings


def settings_with_sources(home: Path | None = None) -> tuple[Settings, dict[str, str]]:
    """Settings for a command on this machine, and for each field where its value came from.

    Sources: 'environment', '.env', 'option', 'running stack', 'default'.
    """
    explicit = Settings() if home is None else Settings(home=home)
    named = {name for name in Settings.model_fields if f"FOREWARN_{name.upper()}" in os.environ}
    sources = dict.fromkeys(Settings.model_fields, "default")
    sources |= {name: "environment" if name in named else ".env" for name in explicit.model_fields_set}
    if home is not None:
        sources["home"] = "option"
    state = running(explicit.home)
    if state is None:
        return explicit, sources
    offered = {key.removeprefix("FOREWARN_").lower(): _value(text) for key, text in state.environment.items()}
    taken = {k: v for k, v in offered.items() if k in Settings.model_fields and k not in explicit.model_fields_set}
    kept = {name: getattr(explicit, name) for name in explicit.model_fields_set}
    return Settings(**{**taken, **kept}), sources | dict.fromkeys(taken, "running stack")


def _value(text: str) -> object:
    """Tables and lists stand as JSON in the environment."""
    return json.loads(text) if text.startswith(("{", "[")) else text

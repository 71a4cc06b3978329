"""Shows a stack that starts, service by service, and afterwards what happens to it."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from forewarn.config.running import ServiceState, StackState

_MARKS = {
    "ready": ("green", "●"), "done": ("green", "✓"), "failed": ("red", "✗"), "restarting": ("yellow", "↻"),
    "waiting": ("dim", "·"), "skipped": ("yellow", "–"), "stopping": ("yellow", "◌"), "stopped": ("dim", "○"),
    "starting": ("cyan", "◍"),
}  # fmt: skip
_PEOPLE_VISIT = {"dashboard", "dagster-webserver", "gateway", "predictor", "mailbox"}


def addresses(state: StackState) -> list[tuple[str, str]]:
    """Title and address of what people and their senders connect to."""
    return [(s.title, s.address) for s in state.services if s.name in _PEOPLE_VISIT and s.address]


class StartDisplay:
    """A table that lives while the stack starts; plain lines where the output is no terminal, and afterwards."""

    def __init__(self, console: Console, detached: bool = False) -> None:
        self._console, self._detached = console, detached
        self._live: Live | None = None
        self._state: StackState | None = None
        self._told: dict[str, str] = {}
        self._began = time.monotonic()
        self._settled = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_live()

    def show(self, state: StackState) -> None:
        """A new state."""
        self._state = state
        if self._settled or (self._live is None):
            self._tell_changes(state)
        if state.phase == "ready" and not self._settled:
            self._settle(state)
        if state.phase in {"stopping", "failed"} and self._live is not None:
            self._end_live()
            self._settled = True
            self._told = {s.name: s.phase for s in state.services if s.phase != "failed"}

    def notice(self, text: str) -> None:
        """A sentence that the reader should not miss."""
        self._console.print(f"[yellow]note[/] {escape(text)}", soft_wrap=True)

    def _settle(self, state: StackState) -> None:
        self._end_live()
        self._settled = True
        self._told = {s.name: s.phase for s in state.services}
        grid = Table.grid(padding=(0, 2))
        for title, address in addresses(state):
            grid.add_row(title, f"[bold]{escape(address)}[/]")
        hint = "Stop it with [bold]forewarn down[/]" if self._detached else "[bold]Ctrl-C[/] stops everything in order"
        more = f"{hint} · [bold]forewarn status[/] · [bold]forewarn logs NAME[/]"
        title = f"Forewarn is up after {time.monotonic() - self._began:.0f} s"
        self._console.print(
            Panel(Group(grid, Text(), Text.from_markup(more)), title=title, expand=False, border_style="green")
        )

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _tell_changes(self, state: StackState) -> None:
        for service in state.services:
            if self._told.get(service.name) == service.phase or service.phase == "waiting":
                continue
            self._told[service.name] = service.phase
            if service.phase in {"ready", "done", "failed", "stopped", "skipped"}:
                style, mark = _MARKS[service.phase]
                self._console.print(f"[{style}]{mark}[/] {escape(_line(service))}", soft_wrap=True)

    def _table(self) -> RenderableType:
        if self._state is None:
            return Spinner("dots", "Looking for ports …")
        table = Table.grid(padding=(0, 2))
        for service in self._state.services:
            style, mark = _MARKS.get(service.phase, ("", " "))
            sign: RenderableType = Spinner("dots", style="cyan") if service.phase == "starting" else Text(mark, style)
            quiet = "dim" if service.phase in {"waiting", "skipped"} else ""
            table.add_row(
                sign, Text(service.title, quiet), Text(_seconds(service), "dim"), Text(_about(service), "dim")
            )
        return table


def _line(service: ServiceState) -> str:
    parts = [service.title, service.phase, _seconds(service), _about(service)]
    return " ".join(part for part in parts if part)


def _seconds(service: ServiceState) -> str:
    if service.phase in {"ready", "done"} and service.ready_seconds is not None:
        return f"{service.ready_seconds:.1f} s"
    if service.phase == "starting" and service.started_at:
        return f"{max(0.0, time.time() - service.started_at):.0f} s"
    return ""


def _about(service: ServiceState) -> str:
    return service.detail or (service.address if service.phase == "ready" else "")

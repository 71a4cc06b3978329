"""Tells on the terminal what the alerter tells: each incident when it opens, fails and ends."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from forewarn.cli.demo.facts import Facts
from forewarn.incidents.records import Incident

_COLOURS = {"info": "blue", "warning": "yellow", "critical": "red"}


class Watch:
    """Follows the incidents of a namespace from a thread until it is left."""

    def __init__(self, console: Console, postgres_url: str, namespace: str, period_seconds: float = 0.5) -> None:
        self._console, self._period = console, period_seconds
        self._facts = Facts(postgres_url, namespace)
        self._seen = datetime.now(UTC) - timedelta(seconds=1)
        self._states: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._facts.close()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                for incident, recorded_at in self._facts.incident_versions(self._seen):
                    self._seen = max(self._seen, recorded_at)
                    self._tell(incident)
            except psycopg.Error as error:
                self._console.print(f"[yellow]note[/] the database does not answer: {escape(str(error))}")

    def _tell(self, incident: Incident) -> None:
        before = self._states.get(incident.incident_id)
        if incident.state == before or (incident.severity == "info" and before is None):
            return
        self._states[incident.incident_id] = incident.state
        if before is None:
            self._console.print(_page(incident))
            return
        at = incident.failed_at if incident.state == "firing" and incident.failed_at else incident.updated_at
        self._console.print(f"  {at:%H:%M}  [bold]{incident.state}[/]  {escape(incident.title)}", soft_wrap=True)


def _page(incident: Incident) -> Panel:
    """One page: what, when, why, what to do."""
    lines = [f"[bold]{escape(incident.summary)}[/]"]
    if incident.drivers:
        lines.append("\n[bold]Why[/]")
        for driver in incident.drivers[:4]:
            mark = "?" if driver.hypothesis else "•"
            lines.append(f"  {mark} {escape(driver.text)}")
    if incident.actions:
        lines.append("\n[bold]What to do[/]")
        lines += [f"  {k}. {escape(action.text)}" for k, action in enumerate(incident.actions, start=1)]
    colour = _COLOURS.get(incident.severity, "white")
    title = f"{incident.severity} · {incident.opened_at:%H:%M} event time · {escape(incident.entity)}"
    return Panel("\n".join(lines), title=title, border_style=colour, expand=False)

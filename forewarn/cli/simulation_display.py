"""Shows a simulated shop while it is sent: event time, samples, rate, and what is happening in it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn

from forewarn.simulation.failures import Happening
from forewarn.simulation.recording import NANOSECONDS, InjectionOutcome, Recording
from forewarn.simulation.sender import Sent
from forewarn.simulation.simulate import Plan

_STYLES = {"onset": "yellow", "failure": "bold red", "repair": "green", "averted": "green"}
_MARKS = {"onset": "begins", "failure": "failure", "repair": "repaired", "averted": "averted"}


class SimulationDisplay:
    """One bar for history, one for the live day; in the live day each happening is a line of its own."""

    def __init__(self, plan: Plan, gateway: str) -> None:
        self._plan, self._gateway = plan, gateway
        self._console = Console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[what]}"),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._sent: dict[str, Sent] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and self._task is not None:
            self._progress.update(self._task, visible=False)
        self._progress.stop()

    def simulating(self) -> None:
        """The shop is being computed."""
        days = self._plan.history_days + self._plan.live_hours / 24
        self._task = self._progress.add_task("simulate", total=None, what=f"{days:.1f} days of {self._plan.namespace}")

    def part(self, name: str, recording: Recording, begin_ns: int, end_ns: int) -> Callable[[Sent], None]:
        """A bar from one event time to the other; returns what moves it."""
        if self._task is not None and name not in self._sent:
            self._progress.update(self._task, visible=False)
        task = self._task = self._progress.add_task(name, total=max(1, end_ns - begin_ns), what="")
        began = time.monotonic()

        def moved(sent: Sent) -> None:
            self._sent[name] = sent
            rate = sent.samples / max(time.monotonic() - began, 1e-3)
            late = f", {sent.behind_seconds:.0f} s behind its speed" if sent.behind_seconds > 2 else ""
            what = f"{sent.event_time:%a %d %b %H:%M} · {sent.samples:,} samples, {rate:,.0f}/s{late}"
            self._progress.update(task, completed=int(sent.event_time.timestamp() * NANOSECONDS) - begin_ns, what=what)
            for happening in sent.new if name == "live" else ():
                if happening.kind != "restart":  # a repair tells it, too
                    self._tell(recording, happening)

        return moved

    def summary(self, recording: Recording, stopped: bool) -> None:
        """What was sent and what became of the failures of the part that was sent."""
        self._progress.stop()
        parts = list(self._sent.values())
        samples, lines, spans = (sum(getattr(p, n) for p in parts) for n in ("samples", "log_records", "spans"))
        seconds = time.monotonic() - self._began
        end = "Stopped" if stopped else "Done"
        until = f", up to {parts[-1].event_time:%Y-%m-%d %H:%M} UTC" if parts else ""
        self._print(
            f"[bold]{end}[/]: {samples:,} samples, {lines:,} log lines, {spans:,} spans to {self._gateway} "
            f"in {seconds:.0f} s{until}"
        )
        if "history" in self._sent:
            self._print(_history_line(recording, self._sent["history"].event_time))
        if "live" in self._sent:
            for outcome in _outcomes(recording, self._plan.live_from, self._sent["live"].event_time):
                self._print(_outcome_line(outcome, recording, self._sent["live"].event_time))

    def _tell(self, recording: Recording, happening: Happening) -> None:
        style = _STYLES.get(happening.kind, "dim")
        at = recording.time_of(happening.seconds)
        entity_text = escape(f"{recording.namespace}/{happening.service}")
        mark = _MARKS.get(happening.kind, happening.kind)
        self._print(f"{at:%a %H:%M}  [{style}]{mark:<10}[/] {entity_text}  {escape(happening.text)}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def _outcomes(recording: Recording, begin: datetime, until: datetime) -> list[InjectionOutcome]:
    onsets = [recording.time_of(outcome.injection.onset_seconds) for outcome in recording.outcomes]
    return [one for one, onset in zip(recording.outcomes, onsets, strict=True) if begin <= onset <= until]


def _history_line(recording: Recording, until: datetime) -> str:
    outcomes = _outcomes(recording, datetime.min.replace(tzinfo=UTC), until)
    failed = sum(outcome.failed_at is not None for outcome in outcomes)
    return f"History: {failed} incidents and {len(outcomes) - failed} near misses"


def _outcome_line(outcome: InjectionOutcome, recording: Recording, until: datetime) -> str:
    injection = outcome.injection
    onset = recording.time_of(injection.onset_seconds)
    began = f"{injection.variant.scenario} in {outcome.entity} began at {onset:%H:%M}"
    if outcome.failed_at is None or outcome.failed_at > until:
        return f"{began}; {injection.variant.signal} has not reached its limit yet"
    hours = (outcome.failed_at - onset).total_seconds() / 3600
    failed = f"{injection.variant.signal} reached its limit at {outcome.failed_at:%H:%M}, {hours:.1f} h later"
    if outcome.repaired_at is None or outcome.repaired_at > until:
        return f"{began}; {failed}"
    return f"{began}; {failed}, repaired at {outcome.repaired_at:%H:%M}"

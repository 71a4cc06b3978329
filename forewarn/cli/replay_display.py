"""What `forewarn replay` shows: what is in the recording, a bar with the event time, failures as they pass."""

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from forewarn.cli.failure import CommandError
from forewarn.cli.gateway import Gateway
from forewarn.services.lifecycle import stop_event
from forewarn.services.replay.player import Player, Progress
from forewarn.services.replay.timeline import SECOND, in_namespace, shift_to_end_at
from forewarn.telemetry.recording import Failure, Recording, utc
from forewarn.telemetry.samples import namespace_of
from forewarn.telemetry.sender import OtlpSender, SendError

_LINE_EVERY_SECONDS = 10.0  # where the output is no terminal
_BEHIND_SECONDS = 5.0


def play(
    recording: Recording,
    speed: float | None,
    namespace: str | None,
    shift_to_now: bool,
    gateway: Gateway,
) -> None:
    """Replay with a display. Raises CommandError where the gateway takes it no longer; exits 130 when interrupted."""
    console = Console(highlight=False, soft_wrap=True)
    moved = in_namespace(recording, namespace)
    shift = _shift(moved, speed) if shift_to_now else 0
    _describe(console, moved, shift, speed, gateway.url)
    stop = stop_event()
    with OtlpSender(gateway.url, gateway.token, trust=gateway.trust) as sender, _Display(console, shift) as display:
        player = Player(moved, sender, speed, shift, display.update)
        display.begin(player.progress)
        try:
            progress = player.play(stop)
        except SendError as error:
            raise CommandError(f"{error} Sent until {_clock(player.progress.event_ns)}.") from error
        finally:
            display.end()
    _summarise(console, progress, sender)
    if not progress.done:
        raise CommandError(f"stopped at {_clock(progress.event_ns)} of event time", 130)


class _Display:
    def __init__(self, console: Console, shift_ns: int) -> None:
        self._console, self._shift = console, shift_ns
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", rate="", total=1.0)
        self._last_line = time.monotonic()

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def begin(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            description=_clock(progress.first_ns),
            total=max(progress.last_ns - progress.first_ns, 1) / SECOND,
        )

    def end(self) -> None:
        self._bar.stop()

    def update(self, progress: Progress, passed: list[Failure]) -> None:
        for failure in passed:
            self._console.print(self._failure(failure))
        text = _rate(progress)
        completed = (progress.event_ns - progress.first_ns) / SECOND
        self._bar.update(self._task, completed=completed, description=_clock(progress.event_ns), rate=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"{_clock(progress.event_ns)}  {text}")

    def _failure(self, failure: Failure) -> str:
        at = failure.first_failure_at + timedelta(microseconds=self._shift // 1000)
        cause = " ".join(x for x in (failure.cause_entity, failure.cause_signal) if x)
        why = f" (cause: {escape(cause)})" if cause and cause != failure.entity else ""
        return f"[red]✗[/] {at:%Y-%m-%d %H:%M:%S}  {escape(failure.entity)}: [bold]{escape(failure.mode)}[/]{why}"


def _describe(console: Console, recording: Recording, shift: int, speed: float | None, gateway: str) -> None:
    first, last = recording.span_ns
    parts = [f"{len(recording.metrics):,} samples of {len(recording.metrics.series)} series"]
    parts += [f"{len(recording.logs):,} log lines"] if recording.logs is not None else []
    parts += [f"{len(recording.spans):,} spans"] if recording.spans is not None else []
    namespaces = ", ".join(sorted({namespace_of(entity) or "none" for entity in recording.entities}))
    pace = "as fast as possible" if speed is None else f"at {speed:g} × its speed"
    console.print(f"[bold]{escape(recording.name)}[/]: {', '.join(parts)}; {len(recording.entities)} entities")
    console.print(
        f"{_clock(first + shift)} to {_clock(last + shift)} UTC in namespace [bold]{escape(namespaces)}[/], {pace}, "
        f"to {escape(gateway)}"
    )
    for note in recording.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")


def _summarise(console: Console, progress: Progress, sender: OtlpSender) -> None:
    seconds = max(progress.seconds, 1e-9)
    console.print(
        f"sent {progress.samples:,} samples, {progress.log_lines:,} log lines, {progress.spans:,} spans "
        f"in {progress.messages:,} messages, {seconds:.1f} s ({progress.samples / seconds:,.0f} samples/s)"
    )
    if sender.retries:
        console.print(f"[yellow]the gateway was away or busy {sender.retries} times; everything was sent again[/]")
    if sender.rejected:
        console.print(f"[yellow]the gateway left out {sender.rejected:,} records[/]")
    if progress.behind_seconds > _BEHIND_SECONDS:
        console.print(f"[yellow]{progress.behind_seconds:.0f} s behind its time: the gateway takes no more[/]")


def _rate(progress: Progress) -> str:
    records = progress.samples + progress.log_lines + progress.spans
    text = f"{records / max(progress.seconds, 1e-9):,.0f} records/s"
    behind = progress.behind_seconds
    return f"{text}, {behind:.0f} s behind" if behind > _BEHIND_SECONDS else text


def _shift(recording: Recording, speed: float | None) -> int:
    first, last = recording.span_ns
    playing = (last - first) / speed if speed is not None else 0.0
    return shift_to_end_at(recording, time.time_ns() + int(playing))


def _clock(time_ns: int) -> str:
    return f"{utc(time_ns):%Y-%m-%d %H:%M:%S}"

"""`forewarn simulate`: a shop's telemetry, with a failure of your choice, sent to a gateway."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from types import FrameType

    from forewarn.cli.gateway import Gateway
    from forewarn.simulation.simulate import Plan

_PATIENCE_SECONDS = 120.0


class Part(StrEnum):
    """Which part of a run is sent."""

    ALL = "all"
    HISTORY = "history"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where it is sent and how: `speed` in event seconds per second, None as fast as possible."""

    gateway: "Gateway"
    speed: float | None
    part: Part


def simulate(
    scenario: Annotated[str, typer.Option(metavar="NAME", help="What fails in the live day; see --list.")] = "none",
    speed: Annotated[
        str,
        typer.Option(metavar="X|max", help="Event seconds per second in the live day; history is always sent at max."),
    ] = "120",
    history_days: Annotated[
        float, typer.Option(min=0, max=90, metavar="DAYS", help="Days before, with incidents to learn from.")
    ] = 14.0,
    hours: Annotated[float, typer.Option(min=0, max=240, metavar="HOURS", help="Length of the live day.")] = 24.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and same end: the same samples.")] = 7,
    step: Annotated[float, typer.Option(min=1, max=600, metavar="SECONDS", help="Event time between samples.")] = 60.0,
    part: Annotated[
        Part, typer.Option(help="Send only one part of it, so that models can be trained between.")
    ] = Part.ALL,
    end: Annotated[
        datetime | None,
        typer.Option(help="Event time (UTC) at which it ends.", show_default="now", formats=["%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="service.namespace of the shop.")] = "shop",
    gateway: Annotated[
        str, typer.Option(metavar="URL", help="OTLP over HTTP.", show_default="the gateway that runs here")
    ] = "",
    token: Annotated[
        str, typer.Option(metavar="TOKEN", help="Bearer token.", show_default="FOREWARN_GATEWAY_TOKEN")
    ] = "",
    home: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the stack to send to.", show_default="FOREWARN_HOME")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios and exit.")] = False,
) -> None:
    """Make telemetry of a shop that fails, and send it.

    Two weeks of history (days, weeks, deploys, harmless look-alikes, incidents), then a live day in which the
    scenario begins after some hours. Event time ends now: it lies in the past and runs at --speed.
    """
    if list_:
        _print_scenarios()
        return
    from forewarn.cli.gateway import gateway_of
    from forewarn.simulation.simulate import Plan

    _check_scenario(scenario)
    pace = _speed(speed)
    until = end.replace(tzinfo=UTC) if end else _now(step)
    plan = Plan(until, history_days, hours, scenario, seed, step, namespace)
    _run(plan, Destination(gateway_of(gateway, token, home), pace, part))


def _run(plan: "Plan", destination: Destination) -> None:
    from forewarn.cli.simulation_display import SimulationDisplay
    from forewarn.simulation.recording import NANOSECONDS
    from forewarn.simulation.sender import HISTORY_CHUNK_SECONDS, HISTORY_TRACE_SECONDS, live_chunk_seconds, send
    from forewarn.telemetry.sender import OtlpSender, SendError

    stop, gateway = threading.Event(), destination.gateway
    with _stop_on_signal(stop), SimulationDisplay(plan, gateway.url) as display:
        try:
            _knock(gateway)
            display.simulating()
            recording = plan.record()
            live_ns = int(plan.live_from.timestamp() * NANOSECONDS)
            with OtlpSender(
                gateway.url, gateway.token, patience_seconds=_PATIENCE_SECONDS, trust=gateway.trust
            ) as sender:
                if destination.part is not Part.LIVE and plan.history_days and not stop.is_set():
                    on_sent = display.part("history", recording, int(recording.times_ns[0]), live_ns)
                    send(
                        recording,
                        sender,
                        speed=None,
                        chunk_seconds=HISTORY_CHUNK_SECONDS,
                        trace_seconds=HISTORY_TRACE_SECONDS,
                        end_ns=live_ns,
                        on_sent=on_sent,
                        stop=stop,
                    )
                if destination.part is not Part.HISTORY and plan.live_hours and not stop.is_set():
                    on_sent = display.part("live", recording, live_ns, int(recording.times_ns[-1]))
                    send(
                        recording,
                        sender,
                        speed=destination.speed,
                        chunk_seconds=live_chunk_seconds(destination.speed, plan.step_seconds),
                        trace_seconds=plan.step_seconds,
                        begin_ns=live_ns,
                        on_sent=on_sent,
                        stop=stop,
                    )
        except (SendError, ValueError) as error:
            raise CommandError(str(error)) from error
        display.summary(recording, stopped=stop.is_set())
    if stop.is_set():
        raise typer.Exit(130)


def _knock(gateway: "Gateway") -> None:
    """An empty message first: whether somebody is there is known before anything is computed."""
    import httpx

    from forewarn.telemetry.sender import GatewayUnreachableError, OtlpSender, is_of_tls

    try:
        with OtlpSender(
            gateway.url, gateway.token, patience_seconds=0, first_patience_seconds=0, timeout_seconds=5,
            trust=gateway.trust,
        ) as sender:  # fmt: skip
            sender.send_metrics(b"")
    except GatewayUnreachableError as error:
        if not isinstance(error.__cause__, httpx.TransportError):
            return  # it is busy: the stream has patience
        if is_of_tls(error):
            raise CommandError(str(error)) from error
        raise CommandError(
            f"no gateway at {gateway.url}: start one with `forewarn up`, or name another with --gateway URL"
        ) from error


@contextmanager
def _stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the message that is on its way arrive; a second one ends at once."""

    def on_signal(number: int, frame: "FrameType | None") -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now(step_seconds: float) -> datetime:
    """Now, at the beginning of the step that has not ended yet: no sample lies in the future."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // step_seconds * step_seconds, UTC)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e6:
        raise CommandError(
            f"--speed {text} is neither a number above 0 nor 'max'; 120 means two minutes in a second", 2
        )
    return speed


def _check_scenario(name: str) -> None:
    from forewarn.simulation.scenarios import NONE, SCENARIOS

    if name not in (*SCENARIOS, NONE):
        raise CommandError(f"there is no scenario '{name}'; choose one of {', '.join((*SCENARIOS, NONE))}", 2)


def _print_scenarios() -> None:
    from rich.console import Console
    from rich.table import Table

    from forewarn.simulation.scenarios import NONE, VARIANTS

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("scenario", "where", "what reaches its limit", "what happens"):
        table.add_column(title, overflow="fold")
    for name, variants in VARIANTS.items():
        first = variants[0]
        table.add_row(f"[bold]{name}[/]", first.service, first.signal, first.text)
    table.add_row(f"[bold]{NONE}[/]", "", "", "a day like any other: nothing reaches a limit")
    Console().print(table)

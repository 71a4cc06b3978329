"""`forewarn replay`: sends a recording through the gateway and shows the event time as it passes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from forewarn.telemetry.recording import Recording

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog="Examples:\n\n"
    "[bold]forewarn replay recordings/r062[/]   at 60 times its speed, at its own times\n\n"
    "[bold]forewarn replay recordings/r062 --speed max --namespace again --shift-to-now[/]\n\n"
    "[bold]forewarn replay recordings/r062 --gateway https://monitor.example.org:4318 --token SECRET[/]"
)
def replay(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="Folder with telemetry.parquet; see docs/data-formats.md.")
    ],
    speed: Annotated[
        str, typer.Option(metavar="N|max", help="Event seconds in a second, or as fast as the gateway takes it.")
    ] = "60",
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Namespace of all entities.", show_default="the recording's"),
    ] = None,
    shift_to_now: Annotated[
        bool,
        typer.Option(
            "--shift-to-now/--original-time", help="Move event times so that the recording ends when the replay ends."
        ),
    ] = False,
    gateway: Annotated[
        str, typer.Option(metavar="URL", help="The gateway's address.", show_default="the stack that runs here")
    ] = "",
    token: Annotated[
        str,
        typer.Option(metavar="SECRET", help="Bearer token of the gateway.", show_default="FOREWARN_GATEWAY_TOKEN"),
    ] = "",
) -> None:
    """Send a recording of metrics, logs and traces through the gateway, in the order of its event time.

    Failures that the recording knows of are shown as they pass; they are not sent. The predictor keeps an event
    clock for each namespace: to replay something again, name another --namespace or use --shift-to-now.
    """
    rate = parse_speed(speed)
    if namespace is not None and (not namespace or "/" in namespace):
        raise CommandError(f"--namespace {namespace!r}: give a name without '/'")
    from forewarn.cli.gateway import gateway_of
    from forewarn.cli.replay_display import play

    play(read(recording), rate, namespace, shift_to_now, gateway_of(gateway, token))


def parse_speed(text: str) -> float | None:
    """Event seconds in a second, None for 'max'. Raises CommandError."""
    if text.strip().lower() == "max":
        return None
    try:
        speed = float(text.lower().removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise CommandError(f"--speed {text!r}: give a number above 0, such as 60, or max")
    return speed


def read(path: Path) -> "Recording":
    """The recording, or a CommandError with the reason."""
    from forewarn.telemetry.recording import read_recording
    from forewarn.telemetry.recording_errors import RecordingError

    try:
        return read_recording(path)
    except RecordingError as error:
        raise CommandError(str(error)) from error

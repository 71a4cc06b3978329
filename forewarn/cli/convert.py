"""`forewarn convert`: a foreign data set as a recording that `forewarn replay` reads."""

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.failure import CommandError

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog="Examples:\n\n"
    "[bold]forewarn convert nezha trainticket_2023-01-30.tar.xz recordings/trainticket[/]\n\n"
    "[bold]forewarn convert realruns realruns/r062 recordings/r062[/]   checks it, and adds what it lacks"
)
def convert(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="nezha or realruns.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The data set: an archive or a folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not exist.")],
) -> None:
    """Convert a data set into a recording, and say what was found and what was left out."""
    from rich.console import Console
    from rich.markup import escape

    from forewarn.telemetry.converters import CONVERTERS
    from forewarn.telemetry.recording import read_recording, utc, write_recording
    from forewarn.telemetry.recording_errors import RecordingError

    if form not in CONVERTERS:
        raise CommandError(f"{form!r} is no known format; there are: {', '.join(CONVERTERS)}")
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Console(stderr=True).status(f"reading {escape(str(source))} …"):
            recording = CONVERTERS[form](source)
            write_recording(out, recording)
            read_recording(out, strict=True)
    except RecordingError as error:
        raise CommandError(str(error)) from error
    for note in recording.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    first, last = recording.span_ns
    console.print(f"[bold]{escape(str(out))}[/]: {utc(first):%Y-%m-%d %H:%M} to {utc(last):%Y-%m-%d %H:%M} UTC")
    console.print(
        f"{len(recording.entities)} entities, {len(recording.metrics):,} samples of {len(recording.metrics.series)} "
        f"series, {len(recording.logs or ()):,} log lines, {len(recording.spans or ()):,} spans, "
        f"{len(recording.limits)} limits, {len(recording.topology)} calls, {len(recording.failures)} failures"
    )
    console.print(f"Replay it with: [bold]forewarn replay {escape(str(out))}[/]")

"""`forewarn backtest`: what would have been told on recordings, held against what failed in them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from forewarn.evaluation.walk_forward.report import Walked
    from forewarn.risk.scorer import Scorer

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_HORIZON_STEPS = 360
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command(
    epilog="Examples:\n\n[bold]forewarn backtest --telemetry recordings/[/]\n\n"
    "[bold]forewarn backtest --telemetry recordings/r062 --json out.json --html out.html[/]"
)
def backtest(
    telemetry: Annotated[
        Path, typer.Option(metavar="DIR", help="A recording, or a folder of recordings; see docs/data-formats.md.")
    ],
    incidents: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Failures instead of those in the recording's failures.csv; one recording."),
    ] = None,
    horizon: Annotated[
        str,
        typer.Option(metavar="6h|auto", help="How far ahead a page speaks: 360 steps. A horizon sets the step."),
    ] = "auto",
    step: Annotated[str, typer.Option(metavar="SECONDS|auto", help="Width of a cell; auto: the sample interval.")] = (
        "auto"
    ),
    model: Annotated[
        str,
        typer.Option(metavar="first-day|trend|PATH", help="First-day model, its trend alone, or a bundle."),
    ] = "first-day",
    json: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the result as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the result as a page with pictures.")] = None,
) -> None:
    """Walk recordings through time with the engine of the stream and score what it tells, beside simple methods.

    Nothing of the future is seen; failures are read only to score.
    """
    import msgspec
    from rich.console import Console

    from forewarn.evaluation.walk_forward.report import as_json, backtest_folder
    from forewarn.telemetry.recording_errors import RecordingError

    console = Console(stderr=True)
    scorer = _scorer(model)
    width = _step(step, horizon)
    unread: dict[str, str] = {}

    def leave_out(path: Path, error: RecordingError) -> None:
        unread[path.name] = str(error)
        console.print(f"{path.name}: left out: {error}", soft_wrap=True, markup=False)

    try:
        failures = _failures(incidents, telemetry)
        walked = backtest_folder(
            telemetry,
            scorer,
            width,
            failures,
            on_run=lambda w: console.print(f"{w.recording.name}: {_line(w)}", soft_wrap=True, markup=False),
            on_unread=leave_out,
        )
    except RecordingError as error:
        raise CommandError(str(error)) from error
    result = as_json(walked, scorer.version, unread)
    _print(result)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    if html is not None:
        from forewarn.evaluation.walk_forward.page import write_page

        write_page(html, walked, result)


def _scorer(model: str) -> "Scorer":
    from forewarn.risk.first_day import FirstDayScorer
    from forewarn.risk.scorer import TrendScorer

    if model in ("first-day", "trend"):
        return FirstDayScorer() if model == "first-day" else TrendScorer()
    from forewarn.risk.bundle import BundleError, load_bundle

    try:
        return load_bundle(Path(model)).scorer()
    except (BundleError, OSError) as error:
        raise CommandError(
            f"--model {model}: {error}. Give 'first-day', 'trend' or the folder of a model bundle."
        ) from error


def _step(step: str, horizon: str) -> float | None:
    """Seconds of a cell, None for the sample interval. Raises CommandError."""
    if step != "auto":
        try:
            seconds = float(step)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise CommandError(f"--step {step!r}: give seconds above 0, such as 60, or auto")
        return seconds
    if horizon == "auto":
        return None
    try:
        return float(horizon[:-1]) * _SECONDS[horizon[-1]] / _HORIZON_STEPS
    except (ValueError, KeyError, IndexError):
        raise CommandError(f"--horizon {horizon!r}: give a time such as 6h, 30m or 360s, or auto") from None


def _failures(incidents: Path | None, telemetry: Path) -> Any:
    from forewarn.telemetry.recording import TELEMETRY
    from forewarn.telemetry.recording_text import read_failures

    if incidents is None:
        return None
    if not incidents.is_file():
        raise CommandError(f"--incidents {incidents} does not exist: name a file like failures.csv of a recording")
    if not (telemetry / TELEMETRY).is_file():
        raise CommandError("--incidents belongs to one recording: name its folder with --telemetry")
    return read_failures(incidents)


def _line(walked: "Walked") -> str:
    o, unlimited = walked.outcomes["model"], "" if _limited(walked) else "; no recorded signal has a limit above 0"
    if not o.failed:
        return f"did not fail, {o.pages} pages{unlimited}"
    return f"{o.mode}, {f'told {o.lead:.0f} s ahead' if o.predicted else 'missed'}, {o.pages} pages{unlimited}"


def _limited(walked: "Walked") -> bool:
    """Whether there is anything of which the engine can tell that it will reach its limit."""
    series, limits = set(walked.recording.metrics.series), walked.recording.limits
    return any(limit.series in series and limit.value > 0 for limit in limits)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from forewarn.evaluation.walk_forward.summary import GOALS

    overall = result["overall"]
    title = f"{overall['failures']} failures and {overall['look_alikes']} look-alikes, model {result['model']}"
    table = Table("", "forewarn", *result["baselines"], title=title)
    for goal in GOALS:
        columns = [overall, *result["baselines"].values()]
        table.add_row(goal.title, *(_cell(goal.key, c[goal.key]) for c in columns))
    Console().print(table)


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if key in ("false_pages", "look_alikes_paged") else f"{value:.1%}"

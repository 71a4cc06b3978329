"""`forewarn evaluate`: how the models do on public data, each set by its own metric, beside simple methods."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from forewarn.evaluation.datasets.report import DatasetReport

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog="Examples:\n\n[bold]forewarn evaluate smd --data data/smd[/]\n\n"
    "[bold]forewarn evaluate smart_disks --data data/smart_disks --test-from 2015-01-01 --json out.json[/]"
)
def evaluate(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Which one; without it, what there is.")] = "",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds its files, any number.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the result as JSON.")] = None,
    test_from: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="smart_disks: the first day of the test data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 0,
) -> None:
    """Score a public data set: models learn on its training part alone and are measured on the rest."""
    import msgspec
    from rich.console import Console

    from forewarn.evaluation.datasets.registry import evaluate as run
    from forewarn.evaluation.datasets.report import DatasetError, Options, as_json

    if not dataset:
        _print_names()
        return
    if data is None:
        raise CommandError(f"--data is missing: name the folder that holds the files of {dataset}")
    console = Console(stderr=True)
    options = Options(test_from.date() if test_from else None, seed, lambda line: console.print(line, highlight=False))
    try:
        reports = run(dataset, data, options)
    except DatasetError as error:
        raise CommandError(str(error)) from error
    _print(dataset, reports)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(as_json(reports)), indent=1) + b"\n")


def _print_names() -> None:
    from rich.console import Console
    from rich.table import Table

    from forewarn.evaluation.datasets.registry import DATASETS

    table = Table("data set", "what is measured")
    for dataset in DATASETS.values():
        table.add_row(dataset.name, dataset.about)
    Console().print(table)


def _print(name: str, reports: "Sequence[DatasetReport]") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for report in reports:
        table = Table("part", "forewarn", *report.baselines, title=f"{name}: {report.metric}")
        for part in report.parts:
            beside = part.get("baselines", {})
            table.add_row(
                str(part["part"]), _cell(part.get("value")), *(_cell(beside.get(b)) for b in report.baselines)
            )
        table.add_section()
        table.add_row("all", _cell(report.value), *(_cell(value) for value in report.baselines.values()))
        console.print(table)
        if report.goal is not None:
            sign = "at least" if report.higher_is_better else "at most"
            console.print(f"goal: {sign} {report.goal:g}{report.unit}: {'met' if report.met else 'missed'}")
        for note in report.notes:
            console.print(f"[dim]{note}[/]")


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"

"""`forewarn scrub`: check a file of scrubbing rules, and try what the rules do to a text."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from forewarn.telemetry.scrub_rules import Rule

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Check the rules by which secrets and personal data are taken out of logs, spans and activity.",
)  # fmt: skip

_SLOW_SECONDS = 0.1  # for 20 000 characters
_LENGTH = 20_000
_HARD = ("a", "1", " ", "a ", "a@", "a.b", "1 2", "key=", '"', "a=b&", "://a:")  # repeated, they make bad patterns slow


@app.command(
    "check",
    epilog="Exit status: 0 it can be used, 1 it cannot.\n\nExample:\n\n[bold]forewarn scrub check scrub.yaml[/]",
)
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A rules file, see docs/security.md.")]) -> None:
    """Say whether a rules file can be used, which rules it puts in force, and which of them are slow."""
    from rich.console import Console
    from rich.table import Table

    from forewarn.telemetry.scrub_rules import ScrubError, read_rules

    try:
        rules = read_rules(file)
    except ScrubError as error:
        raise CommandError(str(error)) from None
    table = Table("rule", "finds", "becomes", "slowest of 20,000 characters")
    for rule in rules:
        finds = rule.pattern or f"attributes {', '.join(sorted(rule.keys))}"
        shown = finds if len(finds) < 50 else f"{finds[:49]}…"
        table.add_row(rule.name, _escaped(shown), _escaped(rule.text), f"{_slowest(rule) * 1e3:.1f} ms")
    console = Console(highlight=False)
    console.print(table)
    for rule in rules:
        if _slowest(rule) > _SLOW_SECONDS:
            console.print(
                f"[yellow]{rule.name} is slow on some texts[/]: bound its repetitions ({{1,200}} instead of + and *)"
            )
        if rule.pattern and not rule.hints and rule.valid is None:
            console.print(f"[yellow]{rule.name} has no `hints`[/]: every request of logs and traces is decoded for it")
    console.print("[green]the file can be used[/]")


@app.command("try", epilog="Example:\n\n[bold]forewarn scrub try 'password=hunter2 for bob@example.org'[/]")
def try_(
    text: Annotated[str, typer.Argument(help="A line of a log; '-' reads standard input.")],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="A rules file.", show_default="FOREWARN_SCRUB")
    ] = None,
) -> None:
    """Print a text as it would be stored, and on standard error which rules applied."""
    import sys

    from forewarn.config.settings import Settings
    from forewarn.telemetry.scrub import Scrubber
    from forewarn.telemetry.scrub_rules import ScrubError, load_rules

    try:
        scrubber = Scrubber(load_rules(str(file) if file else Settings().scrub))
    except ScrubError as error:
        raise CommandError(str(error)) from None
    found, hits = scrubber.text(sys.stdin.read() if text == "-" else text)
    typer.echo(found, nl=text != "-")
    typer.echo(", ".join(f"{rule}: {times}" for rule, times in hits.items()) or "no rule applied", err=True)


def _slowest(rule: "Rule") -> float:
    """Seconds for the worst of some texts that make patterns slow."""
    if not rule.pattern:
        return 0.0
    worst = 0.0
    for piece in _HARD:
        text = (piece * _LENGTH)[:_LENGTH]
        started = time.perf_counter()
        for _ in rule.expression.finditer(text):
            pass
        worst = max(worst, time.perf_counter() - started)
        if worst > 10 * _SLOW_SECONDS:
            break
    return worst


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)

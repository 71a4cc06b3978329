"""`forewarn why-not`: why nothing was predicted or told of an entity."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home
from forewarn.cli.team_files import alerting_policy

if TYPE_CHECKING:
    from forewarn.alerting.policy import Policy
    from forewarn.config.settings import Settings
    from forewarn.stores.views.why_not import WhyNot

app = typer.Typer(rich_markup_mode="rich", add_completion=False)
_PARTS = (
    ("Is it predicted?", ("unknown", "gap", "no_limit", "watched", "abstains", "below_threshold", "threshold")),
    ("What was predicted, and what failed, within a day", ("risk", "failure")),
    ("Who was told", ("incident", "told", "held", "undelivered", "silence", "maintenance")),
    ("What was done about it, or not", ("response",)),
    ("Decisions, the newest first", ("decision",)),
)


@app.command(
    "why-not",
    epilog="Exit status: 0 answered, 1 the entity is not known.\n\n"
    "Examples:\n\n[bold]forewarn why-not shop/db[/]\n\n[bold]forewarn why-not shop/db --at '2026-03-01 04:00'[/]   in "
    "UTC, or with an offset\n\n[bold]forewarn why-not shop/db --json | jq '.reasons[] | select(.kind==\"held\")'[/]",
)
def why_not(
    entity: Annotated[str, typer.Argument(help="namespace/name, as in messages.")],
    at: Annotated[str, typer.Option(metavar="TIME", help="At this moment instead of now.", show_default=False)] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
    home: Home = None,
) -> None:
    """Say why nothing was predicted or told of an entity: gaps, limits, abstentions, silences, every decision."""
    from forewarn.cli.database import connected
    from forewarn.config.running import client_settings
    from forewarn.stores.views.why_not import Question
    from forewarn.stores.views.why_not import why_not as ask

    settings = client_settings(home)
    policy = _policy(settings)
    windows = [spec.window() for spec in policy.maintenance]
    question = Question(entity, datetime.now(UTC), _moment(at), policy.own_labels(entity), windows)
    with connected(settings, options="-c timezone=UTC") as connection:
        found = ask(connection, question)
    if json:
        _write_json(found)
    else:
        _show(found)
    if any(reason.kind == "unknown" for reason in found.reasons):
        raise typer.Exit(1)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--at: '{text}' is no time: write it as 2026-03-01 04:00 (UTC) or with an offset") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _show(found: "WhyNot") -> None:
    from rich.console import Console
    from rich.markup import escape

    from forewarn.alerting.wording import one_line

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(one_line(found.verdict, 400))}[/]  [dim]as of {found.at:%Y-%m-%d %H:%M} UTC[/]")
    for title, kinds in _PARTS:
        reasons = [r for r in found.reasons if r.kind in kinds and r.kind != "unknown"]
        if reasons:
            console.print(f"\n[bold]{title}[/]")
        for reason in reasons:
            when = f"{reason.at:%m-%d %H:%M:%S}  " if reason.kind == "decision" and reason.at else ""
            console.print(f"  {when}{escape(one_line(reason.text, 600))}")


def _write_json(found: "WhyNot") -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def _policy(settings: "Settings") -> "Policy":
    """The alerting file's; one that cannot be used says so and is left out."""
    from forewarn.alerting.defaults import default_policy

    try:
        return alerting_policy(settings)
    except CommandError as error:
        typer.echo(f"the alerting file is left out: {error}", err=True)
        return default_policy(settings)

"""`forewarn capacity`: what fills up within a week, by the newest forecasts from the archive."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from forewarn.config.settings import Settings
    from forewarn.services.capacity import Pass
    from forewarn.stores.views.capacity import Capacity

app = typer.Typer(rich_markup_mode="rich", add_completion=False)
_PROBABLE, _POSSIBLE = 0.7, 0.2


@app.command(
    epilog="Dagster makes the forecasts every hour; without Dagster, --refresh makes them now (as a cron job, say).\n\n"
    "Examples:\n\n[bold]forewarn capacity[/]\n\n[bold]forewarn capacity --entity shop/db --all[/]\n\n"
    "[bold]forewarn capacity --refresh --json | jq '.[0].within'[/]"
)
def capacity(
    entity: Annotated[str, typer.Option(help="Of this entity alone.", show_default=False)] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what is unlikely to fill up.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Make the forecasts now, and tell risks.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output, with the fans.")] = False,
    home: Home = None,
) -> None:
    """Show which limited signals reach their limit within a week, from the archive's hourly maxima."""
    from forewarn.cli.database import connected, database_errors
    from forewarn.config.running import client_settings
    from forewarn.stores.views.capacity import capacity_view

    settings = client_settings(home)
    with database_errors():
        passes = _refresh(settings, quiet=json) if refresh else []
    with connected(settings) as connection:
        found = capacity_view(connection, entity or None)
    if json:
        _write_json(found)
    else:
        _show(found, passes, everything)


def _refresh(settings: "Settings", quiet: bool) -> "list[Pass]":
    from rich.console import Console

    from forewarn.services.capacity import NotToldError, refresh

    try:
        if quiet:
            return refresh(settings)
        with Console(stderr=True).status("Forecasting …"):
            return refresh(settings)
    except NotToldError as error:
        raise CommandError(str(error)) from error


def _write_json(found: "Sequence[Capacity]") -> None:
    import msgspec

    rows = [msgspec.to_builtins(one.forecast) | {"median_at": one.median_at, "episode": one.episode} for one in found]
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")


def _show(found: "Sequence[Capacity]", passes: "Sequence[Pass]", everything: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    shown = [one for one in found if everything or one.forecast.probability >= _POSSIBLE]
    if not found:
        console.print(
            "No capacity forecasts yet. They need a day of hourly roll-ups of a signal with a limit, and Dagster's "
            "schedule [bold]hourly_capacity[/] or [bold]forewarn capacity --refresh[/]."
        )
    elif not shown:
        console.print(
            f"None of {len(found)} signals is likely to reach its limit within 7 d ([bold]--all[/] shows all)."
        )
    else:
        console.print(_table(shown))
        if len(shown) < len(found):
            console.print(f"[dim]{len(found) - len(shown)} more are unlikely to; --all shows them[/]")
    for one in passes:
        for reason, count in sorted(one.silent.items()):
            console.print(f"[dim]{one.namespace or '(no namespace)'}: {count} signals without a forecast: {reason}[/]")
        if one.risks:
            console.print(f"{one.namespace or '(no namespace)'}: {len(one.risks)} risks told")


def _table(found: "Sequence[Capacity]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from forewarn.risk.quantities import format_share, format_value

    table = Table("Entity", "Signal", "Now", "Limit", "24 h", "7 d", "Median", "Method", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[2:6]:
        column.justify = "right"
    for one in found:
        f = one.forecast
        week = format_share(f.probability)
        style = "red" if f.probability >= _PROBABLE else "yellow" if f.probability >= _POSSIBLE else "dim"
        table.add_row(
            escape(f.entity), escape(f.signal), format_value(f.value, f.unit, f.signal),
            format_value(f.limit, f.unit, f.signal), format_share(f.within["24h"]), f"[{style}]{week}[/]",
            _when(one.median_at), f"[dim]{escape(f.method)}[/]",
        )  # fmt: skip
    return table


def _when(at: datetime | None) -> str:
    return "beyond 7 d" if at is None else f"{at:%Y-%m-%d %H:%M}"

"""`forewarn status`: what runs, how far behind it is, and what is foreseen."""

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forewarn.cli.failure import CommandError
from forewarn.cli.words import age, memory
from forewarn.config.running import StackState, client_settings, running
from forewarn.config.settings import Settings
from forewarn.services.overview import Overview, overview

_STYLES = {"ready": "green", "done": "green", "failed": "red", "restarting": "yellow", "skipped": "dim"}
_STALE_SECONDS = 15.0


def status(home: Path | None, as_json: bool) -> None:
    """Print it; exit with 0 where all is up, 1 where something is down, 3 where nothing runs."""
    settings = client_settings(home)
    stack = running(settings.home)
    if stack is None and not settings.model_fields_set & {"kafka_bootstrap", "postgres_url"}:
        raise CommandError(f"no stack runs on {settings.home.resolve()}: start one with `forewarn up`", status=3)
    found = _ask(settings, stack, quiet=as_json)
    if as_json:
        sys.stdout.write(json.dumps(_plain(found), indent=2, default=_text) + "\n")
    else:
        show(Console(highlight=False), found)
    raise typer.Exit(0 if _all_up(found) else 1)


def _ask(settings: Settings, stack: StackState | None, quiet: bool) -> Overview:
    if quiet:
        return overview(settings, stack)
    with Console(stderr=True).status("Asking …"):
        return overview(settings, stack)


def _all_up(found: Overview) -> bool:
    up = all(s.phase in {"ready", "done", "skipped"} for s in found.services)
    return up and not found.problems


def _plain(found: Overview) -> dict[str, object]:
    """Without the environment, which holds a password."""
    raw = dataclasses.asdict(found)
    stack = raw.pop("stack")
    kept = ("pid", "home", "phase", "started_at", "version", "notices")
    return {"stack": {k: stack[k] for k in kept} if stack else None, **raw}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show(console: Console, found: Overview) -> None:
    """Print for people."""
    if found.stack is not None:
        up = age(datetime.now(UTC).timestamp() - found.stack.started_at)
        console.print(f"[bold]Forewarn {found.stack.version}[/] on {escape(found.stack.home)}: "
                      f"{found.stack.phase}, up {up}, pid {found.stack.pid}")  # fmt: skip
    parts: list[Callable[[Overview], Table | None]] = [_services, _processes, _stream, _foreseen]
    for part in parts:
        table = part(found)
        if table is not None:
            console.print()
            console.print(table)
    for problem in found.problems:
        console.print(f"[red]![/] {escape(problem)}", soft_wrap=True)
    for notice in (found.stack.notices if found.stack else ())[-5:]:
        console.print(f"[yellow]note[/] {escape(notice)}", soft_wrap=True)


def _services(found: Overview) -> Table | None:
    if not found.services:
        return None
    table = Table("Service", "State", "Up", "Restarts", "Memory", "Address", box=None, padding=(0, 2, 0, 0))
    table.columns[3].justify = table.columns[4].justify = "right"
    for row in found.services:
        style = _STYLES.get(row.phase, "yellow")
        restarts = f"[yellow]{row.restarts}[/]" if row.restarts else "0"
        table.add_row(
            row.name, f"[{style}]{row.phase}[/]", age(row.uptime_seconds), restarts if row.pid else "",
            memory(row.memory_bytes), escape(row.address or row.detail),
        )  # fmt: skip
    total = sum(row.memory_bytes or 0 for row in found.services)
    table.add_row("[dim]all[/]", "", "", "", f"[dim]{memory(total)}[/]", "")
    return table


def _processes(found: Overview) -> Table | None:
    if not found.processes:
        return None
    table = Table("Process", "Seen", "Per second", "Counted", title="", box=None, padding=(0, 2, 0, 0))
    for row in found.processes:
        rates = ", ".join(f"{_name(n)} {v:,.1f}" for n, v in row.rates.items() if v > 0)
        counted = ", ".join(f"{_name(n)} {v:,.0f}" for n, v in row.counters.items() if isinstance(v, int | float) and v)
        late = row.seen_seconds_ago > _STALE_SECONDS
        seen = f"[red]{age(row.seen_seconds_ago)} ago[/]" if late else "now"
        table.add_row(row.service, seen, escape(rates) or "[dim]idle[/]", f"[dim]{escape(counted)}[/]")
    return table


def _name(counter: str) -> str:
    return counter.removesuffix("_total").replace("_", " ")


def _stream(found: Overview) -> Table | None:
    table = _pairs("Stream")
    for group, lag in found.groups.items():
        table.add_row(f"lag of {group}", "[green]none[/]" if lag == 0 else f"[yellow]{lag:,} messages[/]")
    if found.dead_letters is not None:
        count = found.dead_letters
        table.add_row("dead letters", f"[yellow]{count:,}[/]" if count else "none")
    for namespace, at in found.clocks.items():
        behind = age((datetime.now(UTC) - at).total_seconds())
        table.add_row(f"clock of {escape(namespace) or '(none)'}", f"{at:%Y-%m-%d %H:%M:%S} UTC [dim]{behind} ago[/]")
    return table if table.row_count else None


def _foreseen(found: Overview) -> Table | None:
    if found.open_risks is None:
        return None
    table = _pairs("Foresight")
    if found.champion is None:
        table.add_row("champion model", "[yellow]none yet[/]: Dagster trains one from the archived history")
    else:
        table.add_row(
            "champion model", f"{escape(found.champion.version)}, trained {age(found.champion.age_seconds)} ago"
        )
    table.add_row("open risks", str(found.open_risks))
    table.add_row("unusual now", f"{found.anomalies} {'entity' if found.anomalies == 1 else 'entities'}")
    incidents = ", ".join(f"{count} {state}" for state, count in sorted(found.incidents.items()))
    table.add_row("open incidents", f"[bold]{incidents}[/]" if incidents else "none")
    pages = ", ".join(f"{count} {state}" for state, count in sorted(found.messages.items()))
    table.add_row("pages", pages or "none")
    return table


def _pairs(title: str) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), title=f"[bold]{title}[/]", title_justify="left")
    table.add_column()
    table.add_column()
    return table

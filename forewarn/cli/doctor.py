"""`forewarn doctor`: finds the usual mistakes and says how each is mended."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forewarn.cli.options import Home
from forewarn.config.running import client_settings
from forewarn.services.doctor.examine import examine
from forewarn.services.doctor.finding import Finding

_Url = Annotated[str, typer.Option(metavar="URL", help="Where it runs.", show_default="on this machine")]
_SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]", "unknown": "[dim]?[/]"}


def doctor(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    gateway: _Url = "",
    predictor: _Url = "",
    dashboard: _Url = "",
    dagster: _Url = "",
) -> None:
    """Look for wrong settings, ports, tokens, clocks, permissions and versions, and say how each is mended.

    Asks broker, database and servers, of this machine or at the URLs given (http or https, with the certificates of
    FOREWARN_TLS_CA_FILE); changes nothing. Exits with 1 where something is wrong.
    """
    settings = client_settings(home)
    findings = []
    console = Console(highlight=False)
    with Console(stderr=True).status("Looking …"):
        elsewhere = {"gateway": gateway, "predictor": predictor, "dashboard": dashboard, "dagster": dagster}
        for finding in examine(settings, elsewhere):
            findings.append(finding)
    if as_json:
        sys.stdout.write(json.dumps([asdict(f) for f in findings], indent=2) + "\n")
    else:
        _show(console, findings)
    raise typer.Exit(1 if any(f.verdict == "wrong" for f in findings) else 0)


def _show(console: Console, findings: list[Finding]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mend = f"\n[bold]→ {escape(finding.mend)}[/]" if finding.mend else ""
        table.add_row(_SIGNS[finding.verdict], finding.check, f"{escape(finding.told)}{mend}")
    console.print(table)
    counts = {v: sum(f.verdict == v for f in findings) for v in ("wrong", "warning")}
    if not any(counts.values()):
        console.print("[green]Nothing found.[/]")
    else:
        console.print(f"{counts['wrong']} wrong, {counts['warning']} to look at.")

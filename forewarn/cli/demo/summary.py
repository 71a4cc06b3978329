"""The end of a demo: what was predicted, when it came, and where the time went."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from forewarn.cli.demo.facts import Told
from forewarn.cli.demo.verdict import Check
from forewarn.risk.quantities import format_duration, format_interval, format_share

_WORDS = {
    "hit": "[green]came true[/]", "late": "[yellow]told too late[/]", "expired": "[red]false alarm[/]",
    "averted": "averted", "dismissed": "dismissed", None: "open",
}  # fmt: skip


def print_predictions(console: Console, told: Sequence[Told]) -> None:
    """The ledger: one line a prediction, predicted time against true time."""
    table = Table(title="Predictions and what became of them", title_justify="left")
    for column in ("Told at", "What", "Probability", "Predicted in (80 %)", "Came in", "Outcome"):
        table.add_column(column)
    for t in told:
        median = format_duration(t.p50) if t.p50 is not None else "unknown"
        came = format_duration(t.lead) if t.lead is not None else ""
        if t.inside_80 is not None:
            came += " (inside)" if t.inside_80 else " (outside)"
        table.add_row(
            f"{t.predicted_at:%a %H:%M}", f"{t.entity} {t.signal}", format_share(t.probability),
            f"{median} ({format_interval(t.p10, t.p90)})", came, _WORDS.get(t.outcome, t.outcome or ""),
        )  # fmt: skip
    if not told:
        table.add_row("", "nothing was predicted", "", "", "", "")
    console.print(table)


def print_times(console: Console, seconds: Sequence[tuple[str, float]], samples: int, sending_seconds: float) -> None:
    """Where the time went, and how fast samples passed."""
    total = sum(s for _, s in seconds)
    table = Table(title=f"Where {format_duration(total)} went", title_justify="left", show_header=False)
    for name, spent in seconds:
        table.add_row(name, format_duration(spent), format_share(spent / total) if total else "")
    console.print(table)
    if sending_seconds:
        console.print(
            f"{samples:,} samples of the shop reached the archive; history was sent at "
            f"{samples / sending_seconds:,.0f} samples a second or more."
        )


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """The promises, kept or not."""
    for check in checks:
        console.print(f"{'[green]✓[/]' if check.kept else '[red]✗[/]'} {check.text}", soft_wrap=True)

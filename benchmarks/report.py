"""Results of benchmarks: a JSON file a benchmark and a table for people."""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """One measured figure.

    goal: what it should be, '' where nothing was promised; met: whether it is, None without a goal or a figure.
    baselines: the same figure of something else, measured in the same run. note: what the figure is about.
    """

    metric: str
    value: float | None
    unit: str
    goal: str = ""
    met: bool | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    note: str = ""


def at_least(metric: str, value: float, unit: str, goal: float, **more: object) -> Result:
    """A figure that should be `goal` or more."""
    return Result(metric, value, unit, f"≥ {goal:,g}", value >= goal, **more)  # type: ignore[arg-type]


def at_most(metric: str, value: float, unit: str, goal: float, **more: object) -> Result:
    """A figure that should be `goal` or less."""
    return Result(metric, value, unit, f"≤ {goal:,g}", value <= goal, **more)  # type: ignore[arg-type]


def write(name: str, results: Iterable[Result], folder: Path = RESULTS) -> Path:
    """Write `results/name.json`; figures that another run of the same benchmark measured stay."""
    path = folder / f"{name}.json"
    kept = {row["metric"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept |= {result.metric: {**asdict(result), "measured_at": now, "machine": machine()} for result in results}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(kept.values()), indent=1, ensure_ascii=False) + "\n")
    return path


def show(title: str, results: Iterable[Result], console: Console | None = None) -> None:
    """Print the results as a table."""
    table = Table(title=title, title_justify="left")
    for name in ("metric", "value", "unit", "goal", "met", "beside", "note"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for r in results:
        beside = "\n".join(f"{name}: {figure(value)}" for name, value in r.baselines.items())
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[r.met]
        table.add_row(r.metric, "—" if r.value is None else figure(r.value), r.unit, r.goal, met, beside, r.note)
    console = console or Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def figure(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, object]:
    """What it was measured on; the load average tells whether others were at work."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load_average": load}

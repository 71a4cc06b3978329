"""How `forewarn models` shows versions, comparisons and changes to people."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forewarn.cli.words import age
from forewarn.evaluation.lifecycle.evidence import Realised
from forewarn.evaluation.lifecycle.shadow import ShadowVerdict
from forewarn.stores.model_health import Health
from forewarn.stores.model_versions import Change, Decision, Version

_STYLES = {"champion": "bold green", "shadow": "cyan", "candidate": "yellow", "broken": "red"}
_FIGURES = ("recall", "precision", "f1", "brier_6h", "coverage_80")
_NONE = "[dim]the first-day model[/]"


def versions(found: Sequence[Version]) -> None:
    """One line a version."""
    console = Console(highlight=False)
    if not found:
        console.print("No models yet: the first-day model serves. Dagster's job 'train' makes one from the archive.")
        return
    table = Table("Stage", "Version", "Trained", "On", *(f.replace("_", " ") for f in _FIGURES), "Why", box=None,
                  padding=(0, 2, 0, 0))  # fmt: skip
    for v in found:
        table.add_row(
            _stage(v.stage), v.version, f"{_ago(v.trained_at)} ago", escape(_data(v)),
            *(_number(_value(v.metrics, name)) for name in _FIGURES), escape(v.reason),
        )  # fmt: skip
    console.print(table)


def version(v: Version, decisions: Sequence[Decision], health: Health, realised: Realised) -> None:
    """All about one."""
    console = Console(highlight=False)
    console.print(f"{_stage(v.stage)}  [bold]{v.version}[/]  {escape(v.reason)}", soft_wrap=True)
    facts = _table()
    facts.add_row("trained", f"{v.trained_at:%Y-%m-%d %H:%M} UTC, {_ago(v.trained_at)} ago")
    facts.add_row("on", f"{escape(_data(v))}, features of version {v.feature_version}")
    for name, value in v.trained_on.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        facts.add_row(name.replace("_", " "), escape(text))
    facts.add_row("here", _realised(realised))
    facts.add_row("last day", _health(health))
    console.print(facts)
    console.print()
    console.print(_metrics(v))
    if decisions:
        console.print()
        table = Table("When (UTC)", "Who", "Did", "Why", box=None, padding=(0, 2, 0, 0))
        for d in decisions:
            at = d.at.astimezone(UTC)
            table.add_row(f"{at:%Y-%m-%d %H:%M}", escape(d.actor), escape(d.action), escape(d.reason))
        console.print(table)


def comparison(first: Version, second: Version, healths: Sequence[Health], verdict: ShadowVerdict | None) -> None:
    """Two side by side; the better of two figures is marked."""
    console = Console(highlight=False)
    table = Table("", *(f"{v.version}\n{_stage(v.stage)}" for v in (first, second)), box=None, padding=(0, 2, 0, 0))
    table.add_row("data", escape(_data(first)), escape(_data(second)))
    for name in sorted(first.metrics.keys() | second.metrics.keys()):
        pair = [_value(v.metrics, name) for v in (first, second)]
        table.add_row(name.replace("_", " "), *_marked(name, pair))
    table.add_row("last day", *(_health(h) for h in healths))
    console.print(table)
    console.print()
    if verdict is None:
        console.print("They have not scored the same live rows: neither was the other's shadow.")
        return
    style = {"promote": "green", "withhold": "red"}.get(verdict.decision, "yellow")
    console.print(
        f"On the same live rows, {second.version} as shadow: [{style}]{verdict.decision}[/], {escape(verdict.reason)}"
    )


def change(done: Change) -> None:
    """Who serves now."""
    console = Console(highlight=False)
    console.print(f"champion  {done.before.champion or _NONE} → [bold]{done.after.champion or _NONE}[/]")
    if done.before.shadow != done.after.shadow:
        console.print(f"shadow    {done.before.shadow or 'none'} → {done.after.shadow or 'none'}")
    console.print("The predictor takes it up within seconds, MLflow's aliases follow with Dagster's next look.")


def _metrics(v: Version) -> Table:
    table = Table("On held-out days", "this model", "beside", box=None, padding=(0, 2, 0, 0))
    for name in sorted(v.metrics):
        entry = v.metrics[name]
        baselines = (entry.get("baselines") or {}) if isinstance(entry, dict) else {}
        beside = ", ".join(f"{n} {_number(b)}" for n, b in baselines.items() if b is not None)
        table.add_row(name.replace("_", " "), _number(_value(v.metrics, name)), f"[dim]{escape(beside)}[/]")
    return table


def _table() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    return table


def _stage(stage: str) -> str:
    style = _STYLES.get(stage, "dim")
    return f"[{style}]{stage}[/]"


def _ago(time: datetime) -> str:
    return age((datetime.now(UTC) - time).total_seconds())


def _data(v: Version) -> str:
    namespace = v.trained_on.get("namespace")
    where = f"{namespace}, " if namespace else ""
    return f"{where}{v.data_from:%Y-%m-%d} to {v.data_to:%Y-%m-%d}"


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    entry = metrics.get(name)
    value = entry.get("value") if isinstance(entry, dict) else entry
    return float(value) if isinstance(value, int | float) else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _marked(name: str, pair: Sequence[float | None]) -> list[str]:
    texts = [_number(value) for value in pair]
    known = [value for value in pair if value is not None]
    if len(known) < 2 or known[0] == known[1] or name == "coverage_80":
        return texts
    lower = any(part in name for part in ("brier", "error", "loss", "false"))
    best = min(known) if lower else max(known)
    return [f"[bold]{t}[/]" if v == best else t for t, v in zip(texts, pair, strict=True)]


def _health(h: Health) -> str:
    if not h.batches:
        return "[red]no predictor could take it up[/]" if h.errors else "[dim]did not serve[/]"
    errors = f"[red]{h.errors:,} errors[/]" if h.errors else "no errors"
    slow = f", up to {1000 * h.p99_seconds:.0f} ms each" if h.p99_seconds is not None else ""
    return f"{h.batches:,} scorings{slow}, {errors}, {h.opened:,} risks told"


def _realised(r: Realised) -> str:
    told = r.came_true + r.false
    if not told and not r.missed:
        return "[dim]nothing resolved yet[/]"
    inside = f", 80 % interval held {r.inside} of {r.judged}" if r.judged else ""
    return f"{r.came_true} of {told} predictions came true, {r.missed} failures missed{inside}"

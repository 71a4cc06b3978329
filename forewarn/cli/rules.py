"""`forewarn rules`: check a file of alert rules, and try it on history."""

import json as json_lines
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home
from forewarn.cli.team_files import alerting_policy, read_file
from forewarn.config.running import client_settings

if TYPE_CHECKING:
    from forewarn.alerting.policy import Policy
    from forewarn.alerting.rules.rule import RulesFile
    from forewarn.config.settings import Settings
    from forewarn.stores.rule_history import RuleTrial

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Check alert rules of your own, try them on history.",
)  # fmt: skip

File = Annotated[Path | None, typer.Argument(metavar="FILE", help="The file of rules.", show_default="FOREWARN_RULES")]


@app.command(
    "check",
    epilog="Exit status: 0 it can be used, 1 it cannot. What is wrong is said with line and column.\n\n"
    "Example:\n\n[bold]forewarn rules check rules.yaml[/]",
)
def check(file: File = None, home: Home = None) -> None:
    """Say whether a file of rules can be used; where the archive can be reached, also whether it knows the signals."""
    from rich.console import Console
    from rich.markup import escape

    settings = client_settings(home)
    policy = alerting_policy(settings)
    rules = _load(file, settings, policy)
    console = Console(highlight=False, soft_wrap=True)
    for rule in rules.rules:
        where = f" → {', '.join(rule.channels)}" if rule.channels is not None else ""
        held = f" for {_length(rule.hold.total_seconds())}" if rule.hold else ""
        console.print(
            f"[bold]{escape(rule.name)}[/] ({rule.severity}){escape(where)}: {escape(_text(rule.when))}{held}"
        )
    for sentence in _doubts(rules, policy, settings):
        console.print(f"[yellow]{escape(sentence)}[/]")
    console.print(f"[green]the file can be used: {len(rules.rules)} rules[/]")


@app.command(
    "test",
    epilog="The past is read from the archive in steps of 5 minutes and from the ledger of predictions, so what is "
    "shorter than that is not seen.\n\nExamples:\n\n[bold]forewarn rules test rules.yaml --since 7d[/]\n\n"
    "[bold]forewarn rules test rules.yaml --rule 'disk of checkout' --json[/]",
)
def test(
    file: File = None,
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back.")] = "7d",
    rule: Annotated[str, typer.Option(metavar="NAME", help="This rule alone.", show_default=False)] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
    home: Home = None,
) -> None:
    """Say how often each rule would have fired, when, and what failed beside it."""
    from forewarn.alerting.durations import parse_duration
    from forewarn.cli.database import connected
    from forewarn.stores.rule_facts import TooManySeriesError
    from forewarn.stores.rule_history import try_rules

    settings = client_settings(home)
    policy = alerting_policy(settings)
    rules = _load(file, settings, policy).rules
    chosen = [r for r in rules if rule in ("", r.name)]
    if not chosen:
        raise CommandError(f"there is no rule '{rule}': there are {', '.join(r.name for r in rules)}")
    try:
        length = parse_duration(since)
    except ValueError as error:
        raise CommandError(f"--since: {error}") from None
    try:
        with connected(settings) as connection:
            trials = try_rules(connection, chosen, policy.own_labels, length)
    except TooManySeriesError as error:
        raise CommandError(str(error)) from None
    if json:
        typer.echo(json_lines.dumps([_as_json(trial) for trial in trials], indent=1))
        return
    for trial in trials:
        _show(trial)


def _show(trial: "RuleTrial") -> None:
    from rich.console import Console
    from rich.markup import escape

    console, t = Console(highlight=False, soft_wrap=True), trial
    if t.start is None or t.stop is None:
        console.print(f"[bold]{escape(t.rule)}[/]: the archive holds nothing that this rule is about")
        return
    times = len(t.firings)
    often = "would not have fired" if not times else f"would have fired {times} time{'s' if times > 1 else ''}"
    about = f"{t.subjects} series or entities" if t.subjects else "nothing: no entity has what it names"
    console.print(
        f"[bold]{escape(t.rule)}[/] {often}, {t.start:%Y-%m-%d %H:%M} to {t.stop:%Y-%m-%d %H:%M} UTC, over {about}"
    )
    for firing in t.firings[:20]:
        end = f"until {firing.ended_at:%d %H:%M}" if firing.ended_at else "still at the end"
        console.print(f"  {firing.fired_at:%Y-%m-%d %H:%M} {end}  {escape(firing.about)}: {escape(firing.beside)}")
    if times > 20:
        console.print(f"  … and {times - 20} more (--json shows all)")
    if t.failures:
        console.print(
            f"  of {t.failures} failures of these entities it fired within the day before or during {t.foretold}"
        )
    if t.unknown:
        console.print(f"  [dim]{t.unknown_share:.0%} of the looks could not be judged, such as: {escape(t.unknown)}[/]")


def _as_json(trial: "RuleTrial") -> dict[str, object]:
    import msgspec

    found: dict[str, object] = msgspec.to_builtins(trial)
    return found


def _doubts(rules: "RulesFile", policy: "Policy", settings: "Settings") -> list[str]:
    """What can be used and will hardly do what was meant."""
    from forewarn.alerting.rules.syntax import near

    own = {name for entry in policy.labels for name in entry.set}
    found = []
    for rule in rules.rules:
        for label in rule.condition.needs.labels:
            if label not in own | {"name", "namespace"}:
                hint = near(label, own | {"name", "namespace"})
                found.append(f"rule '{rule.name}': no entity has a label '{label}' by the alerting file{hint}")
    known = _signals(settings)
    for rule in rules.rules if known else ():
        for signal in rule.condition.needs.signals:
            if signal not in known:
                hint = near(signal, known) if len(known) < 30 else near(signal, known).partition(" (there")[0]
                found.append(f"rule '{rule.name}': the archive holds no signal '{signal}'{hint}")
    return found


def _signals(settings: "Settings") -> set[str]:
    """Names of signals in the archive; none where it cannot be reached."""
    import psycopg

    try:
        with psycopg.connect(settings.postgres_url.get_secret_value(), connect_timeout=2) as connection:
            return {name for (name,) in connection.execute("select distinct signal from metric_series")}
    except psycopg.Error:
        return set()


def _load(file: Path | None, settings: "Settings", policy: "Policy") -> "RulesFile":
    from forewarn.alerting.rules.file import load_rules

    path = file or settings.rules
    if path is None:
        raise CommandError("name a file of rules, or set FOREWARN_RULES (docs/rules.md shows how one is written)")
    return read_file(path, lambda path: load_rules(path, set(policy.channels)))


def _length(seconds: float) -> str:
    from forewarn.risk.quantities import format_duration

    return format_duration(seconds)


def _text(when: str) -> str:
    return " ".join(when.split())

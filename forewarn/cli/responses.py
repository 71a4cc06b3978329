"""`forewarn responses`: check a file of responses, show what they would do, approve and decline."""

import getpass
import json as json_lines
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.database import connected, settings_of_stack
from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home
from forewarn.cli.team_files import alerting_policy, read_file
from forewarn.config.running import client_settings

if TYPE_CHECKING:
    import psycopg

    from forewarn.alerting.policy import Policy
    from forewarn.alerting.responses.response import Response, ResponsesFile
    from forewarn.config.settings import Settings
    from forewarn.incidents.records import Incident
    from forewarn.stores.responses import PostgresResponses, StoredResponse

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="What may be called or run about an incident: check a file, show, approve, decline.",
)  # fmt: skip

File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The file of responses.", show_default="FOREWARN_RESPONSES")
]
Which = Annotated[str, typer.Argument(metavar="ID", help="Of `forewarn responses list`; its begin is enough.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; kept in the audit.", show_default=False)]


@app.command(
    "check",
    epilog="Exit status: 0 it can be used, 1 it cannot. What is wrong is said with line and column.\n\n"
    "Example:\n\n[bold]forewarn responses check responses.yaml[/]",
)
def check(file: File = None, home: Home = None) -> None:
    """Say whether a file can be used, what each response is for and how far it goes by itself."""
    from forewarn.alerting.matching import describe
    from forewarn.risk.quantities import format_duration

    settings = client_settings(home)
    found = _load(file, settings, alerting_policy(settings))
    for one in found.responses:
        live = "dry run" if one.dry_run else f"approval {one.approval}"
        _print(f"[bold]{_safe(one.name)}[/] ({one.kind}, {live}): {_safe(describe(one.match))}")
        limit = f"{one.limit.runs} in {format_duration(one.limit.per.total_seconds())}"
        _print(f"  at most {limit}, {format_duration(one.cooldown.total_seconds())} apart for an entity")
    for sentence in _doubts(found, settings):
        _print(f"[yellow]{_safe(sentence)}[/]")
    _print(f"[green]the file can be used: {len(found.responses)} responses[/]")


@app.command(
    "test",
    epilog="Nothing is run or sent.\n\nExamples:\n\n[bold]forewarn responses test responses.yaml --incident sample "
    "--entity shop/api[/]\n\n[bold]forewarn responses test --incident 7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c9d[/]",
)
def test(
    file: File = None,
    incident: Annotated[str, typer.Option(metavar="ID|sample", help="An incident, or a made-up one.")] = "sample",
    entity: Annotated[str, typer.Option(metavar="NAME", help="Of the made-up one.")] = "shop/api",
    response: Annotated[str, typer.Option(metavar="NAME", help="This one alone.", show_default=False)] = "",
    home: Home = None,
) -> None:
    """Show exactly what each response would run or send about an incident, and why it would not."""
    settings = client_settings(home)
    policy = alerting_policy(settings)
    chosen = [one for one in _load(file, settings, policy).responses if response in ("", one.name)]
    if not chosen:
        raise CommandError(f"the file has no response '{response}'")
    if incident == "sample":
        from forewarn.alerting.sample import sample_incident

        made_up = sample_incident(entity, datetime.now(UTC).replace(microsecond=0))
        for one in chosen:
            _show_sample(one, made_up, policy, settings)
        return
    with connected(settings) as connection:
        known = _incident(connection, incident)
        for one in chosen:
            _show_real(connection, one, known, policy, settings)


@app.command("list", epilog="Example:\n\n[bold]forewarn responses list --status proposed[/]")
def list_(
    status: Annotated[str, typer.Option(metavar="STATUS", help="Only these.", show_default=False)] = "",
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many of the last.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
    home: Home = None,
) -> None:
    """The last responses: what waits for an approval, what is held and why, what was done and how it ended."""
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from forewarn.alerting.wording import one_line
    from forewarn.stores.responses import STATES, PostgresResponses

    if status and status not in STATES:
        raise CommandError(f"there is no status '{status}': there are {', '.join(STATES)}")
    with connected(settings_of_stack(home)) as connection:
        found = PostgresResponses(connection).newest(number, status or None)
    if json:
        typer.echo(json_lines.dumps([msgspec.to_builtins(row) for row in found], indent=1))
        return
    if not found:
        typer.echo("no responses yet: FOREWARN_RESPONSES names the file that says what may be done (docs/responses.md)")
        return
    table = Table("id", "response", "entity", "status", "proposed", "by", "")
    for row in found:
        table.add_row(row.response_id[:8], _safe(row.response), _safe(one_line(row.entity, 60)), row.status,
                      f"{row.proposed_at.astimezone(UTC):%m-%d %H:%M}", _safe(row.decided_by or "-"),
                      _safe(one_line(row.held_why or row.outcome or row.note, 120)))  # fmt: skip
    Console(highlight=False).print(table)


@app.command("approve", epilog="Example:\n\n[bold]forewarn responses approve 3fa1b2c4 --note 'as agreed'[/]")
def approve(which: Which, note: Note = "", home: Home = None) -> None:
    """Let a proposed response run: once, while its incident is open, until its time is up."""
    row = _decide(which, True, note, home)
    held = f"; it is held: {row.held_why}" if row.held_for else ""
    typer.echo(f"approved '{row.response}' for {row.entity}; it begins within seconds{held}")


@app.command("decline", epilog="Example:\n\n[bold]forewarn responses decline 3fa1b2c4 --note 'we roll back instead'[/]")
def decline(which: Which, note: Note = "", home: Home = None) -> None:
    """Say no to a proposed response: it is not proposed for this incident again."""
    row = _decide(which, False, note, home)
    typer.echo(f"declined '{row.response}' for {row.entity}")


def _decide(which: str, yes: bool, note: str, home: Path | None) -> "StoredResponse":
    from forewarn.stores.responses import NotPending, PostgresResponses

    with connected(settings_of_stack(home)) as connection:
        stored = PostgresResponses(connection)
        try:
            return stored.decide(_whole_id(stored, which), yes, getpass.getuser(), note)
        except NotPending as error:
            raise CommandError(str(error)) from None


def _whole_id(stored: "PostgresResponses", begin: str) -> str:
    found = [row.response_id for row in stored.newest(1000) if row.response_id.startswith(begin.strip().lower())]
    if len(found) > 1:
        raise CommandError(f"{len(found)} responses begin with '{begin}': write more of the id")
    return found[0] if found else begin


def _show_sample(one: "Response", incident: "Incident", policy: "Policy", settings: "Settings") -> None:
    from forewarn.alerting.matching import labels_of
    from forewarn.alerting.responses.deciding import misfit
    from forewarn.alerting.responses.placeholders import ValueRefused
    from forewarn.alerting.responses.plan import plan_of, values_of

    labels = labels_of(incident, policy.own_labels(incident.entity))
    url = f"{settings.public_url.rstrip('/')}/risk?incident={incident.incident_id}"
    _headline(one, misfit(one, incident, labels, 0.88))
    try:
        _plan(plan_of(one, values_of(incident, labels, 0.88, url, "00000000-0000-0000-0000-000000000000")))
    except ValueRefused as error:
        _print(f"  [red]it would be declined: {_safe(str(error))}[/]")
    if one.when:
        _print(f"  [dim]its condition is not looked at for a made-up incident: {_safe(one.when)}[/]")


def _show_real(
    connection: "psycopg.Connection[Any]", one: "Response", incident: "Incident", policy: "Policy", settings: "Settings"
) -> None:
    from forewarn.alerting.responses.deciding import World, hold_of
    from forewarn.alerting.responses.placeholders import ValueRefused
    from forewarn.services.alerter.responding.proposer import Proposer
    from forewarn.stores.responses import PostgresResponses

    try:
        proposal, why = Proposer(settings.public_url, lambda: policy).proposal(connection, one, incident)
    except ValueRefused as error:
        _headline(one, None)
        _print(f"  [red]it would be declined: {_safe(str(error))}[/]")
        return
    _headline(one, None if proposal else why)
    if proposal is None:
        return
    _plan(proposal.plan)
    stored = PostgresResponses(connection)
    world = World(stored.now(), stored.starts(max(one.cooldown, one.limit.per)), one.limit, settings.response_commands,
                  frozenset(settings.response_secrets))  # fmt: skip
    hold = hold_of(one, incident.entity, False, world)
    if hold is not None:
        _print(f"  [yellow]it would wait ({hold.code}): {_safe(hold.why)}[/]")


def _headline(one: "Response", not_for: str | None) -> None:
    fate = f"[yellow]not proposed: {_safe(not_for)}[/]" if not_for else "[green]proposed[/]"
    live = " as a dry run: nothing is done" if one.dry_run else "" if one.approval == "required" else ", and run"
    _print(f"[bold]{_safe(one.name)}[/]: {fate}{'' if not_for else live}")


def _plan(plan: dict[str, Any] | Any) -> None:
    from forewarn.alerting.responses.plan import lines_of

    for line in lines_of(plan, whole=True):
        _print(f"  {_safe(line)}")


def _incident(connection: "psycopg.Connection[Any]", identity: str) -> "Incident":
    import uuid

    from forewarn.stores.incidents import PostgresIncidents

    try:
        found = PostgresIncidents(connection).get(str(uuid.UUID(identity)))
    except ValueError:
        raise CommandError(
            f"--incident: '{identity}' is no id of an incident; write sample for a made-up one"
        ) from None
    if found is None:
        raise CommandError(f"there is no incident {identity}")
    return found


def _doubts(found: "ResponsesFile", settings: "Settings") -> list[str]:
    """What can be used and will not do what was meant on this machine."""
    import os

    said = []
    for one in found.responses:
        missing = sorted(set(one.secrets) - set(settings.response_secrets))
        said += [f"'{one.name}': there is no secret '{name}' in FOREWARN_RESPONSE_SECRETS" for name in missing]
        if one.command is None:
            continue
        if not settings.response_commands:
            said.append(f"'{one.name}': commands are off: set FOREWARN_RESPONSE_COMMANDS=true for the alerter")
        if not os.access(one.command.argv[0], os.X_OK):
            said.append(f"'{one.name}': {one.command.argv[0]} cannot be run on this machine")
    return said


def _load(file: Path | None, settings: "Settings", policy: "Policy") -> "ResponsesFile":
    from forewarn.alerting.responses.file import load_responses

    path = file or settings.responses
    if path is None:
        raise CommandError("name a file of responses, or set FOREWARN_RESPONSES (docs/responses.md shows one)")
    return read_file(path, lambda path: load_responses(path, policy.known_labels()))


def _print(text: str) -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def _safe(text: str) -> str:
    """Text from outside for a terminal."""
    from rich.markup import escape

    from forewarn.alerting.wording import one_line

    return escape(one_line(text, 4000))

"""`forewarn alerts`: check the alerting file, see which way an incident goes, send a test message."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home
from forewarn.cli.team_files import alerting_policy

if TYPE_CHECKING:
    from forewarn.alerting.policy import RouteSpec
    from forewarn.config.settings import Settings

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Check the alerting file, try its routes, send a test message.",
)  # fmt: skip

File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The alerting file.", show_default="FOREWARN_ALERTING")
]


@app.command(
    "check",
    epilog="Exit status: 0 it can be used, 1 it cannot. What is wrong is said with line and column.\n\n"
    "Example:\n\n[bold]forewarn alerts check alerting.yaml[/]",
)
def check(file: File = None, home: Home = None) -> None:
    """Say whether an alerting file can be used, and what it does."""
    from rich.console import Console
    from rich.tree import Tree

    from forewarn.alerting.registry import missing_settings

    settings = _settings(home)
    policy = alerting_policy(settings, file)
    console = Console(highlight=False, soft_wrap=True)
    tree = Tree("[bold]routes[/]")
    _add_route(tree, policy.route, "everything")
    console.print(tree)
    kinds = ", ".join(f"{name} ({spec.kind})" for name, spec in policy.channels.items())
    console.print(f"channels: {kinds}")
    console.print(f"maintenance windows: {len(policy.maintenance)}, inhibitions: {len(policy.inhibit)}")
    for sentence in missing_settings(policy, settings):
        console.print(f"[yellow]not usable with the settings here:[/] {sentence}")
    console.print(
        "[green]the file can be used[/]" if file or settings.alerting else "[green]the default is in force[/]"
    )


@app.command(
    "route",
    epilog="Example:\n\n[bold]forewarn alerts route severity=critical entity=shop/checkout mode=disk_full[/]",
)
def route(
    labels: Annotated[list[str], typer.Argument(metavar="LABEL=VALUE…", help="Labels of an incident.")],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The alerting file.", show_default="FOREWARN_ALERTING")
    ] = None,
    home: Home = None,
) -> None:
    """Show which routes and channels an incident with these labels takes."""
    from rich.console import Console

    policy = alerting_policy(_settings(home), file)
    given = dict(pair.split("=", 1) for pair in labels if "=" in pair)
    if len(given) != len(labels):
        raise CommandError("write labels as NAME=VALUE, such as severity=critical")
    entity = given.get("entity", "")
    namespace, _, name = entity.rpartition("/")
    known = {"severity": "warning", "namespace": namespace, "name": name, **policy.own_labels(entity), **given}
    console = Console(highlight=False, soft_wrap=True)
    for found in policy.routes_of(known):
        console.print(f"[bold]{found.path}[/] → {', '.join(found.channels) or 'nobody'}")
        for step in found.escalate:
            console.print(f"  without an answer after {step.after} also → {', '.join(step.to)}")


@app.command(
    "test",
    epilog="Exit status: 0 it was taken, 1 it was not.\n\nExample:\n\n[bold]forewarn alerts test slack[/]",
)
def test(
    channel: Annotated[str, typer.Argument(help="A channel of the alerting file, or 'email', 'slack', …")],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The alerting file.", show_default="FOREWARN_ALERTING")
    ] = None,
    home: Home = None,
) -> None:
    """Send a message that says that it is a test, and its end; say what happened."""
    from rich.console import Console

    from forewarn.alerting.channel import Receipt, Undelivered
    from forewarn.alerting.links import LinkSigner
    from forewarn.alerting.registry import ChannelError, make_channel
    from forewarn.alerting.sample import sample_notification

    settings = _settings(home)
    policy = alerting_policy(settings, file)
    spec = policy.channels.get(channel)
    if spec is None:
        raise CommandError(f"there is no channel '{channel}': there are {', '.join(policy.channels)}")
    try:
        sender = make_channel(channel, spec, settings)
    except ChannelError as error:
        raise CommandError(str(error)) from None
    incident_id, signer, receipts = str(uuid.uuid4()), LinkSigner.of(settings), list[Receipt]()
    console = Console(highlight=False, soft_wrap=True)
    for reason in ("opened", "withdrawn"):
        url = settings.public_url.rstrip("/")
        message = sample_notification(reason, incident_id, url, channel, signer, tuple(receipts))
        try:
            receipts.append(sender.send(message) or {})
        except Undelivered as error:
            raise CommandError(f"{channel} did not take the message '{reason}': {error}") from None
        console.print(f"[green]{channel} took the message '{reason}'[/]")
    sender.close()


def _settings(home: Path | None) -> "Settings":
    from forewarn.config.running import settings_with_sources

    return settings_with_sources(home)[0]


def _add_route(tree: object, route: "RouteSpec", title: str) -> None:
    from rich.markup import escape
    from rich.tree import Tree

    from forewarn.alerting.matching import describe

    assert isinstance(tree, Tree)
    channels = f" → {', '.join(route.channels)}" if route.channels is not None else ""
    branch = tree.add(escape(f"{title}{channels}"))
    for step in route.escalate or ():
        branch.add(escape(f"without an answer after {step.after} also → {', '.join(step.to)}"))
    for child in route.routes:
        name = f"{child.name}: " if child.name else ""
        _add_route(branch, child, f"{name}{describe(child.match)}{' (and on)' if child.goes_on else ''}")

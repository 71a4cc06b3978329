"""The command line: `forewarn`. Each command's code is loaded when it is called, so that help is quick."""

from typing import Annotated

import typer

from forewarn.cli.failure import run_to_exit
from forewarn.cli.lazy import LazyCommand, LazyGroup
from forewarn.cli.options import Home

_STACK, _DATA, _INSPECT = "Run the stack", "Feed it telemetry", "Look inside"


class _Commands(LazyGroup):
    lazy = (
        LazyCommand("demo", "forewarn.cli.demo.command", "demo", _STACK, "Show the whole of it in a few minutes."),
        LazyCommand("simulate", "forewarn.cli.simulate", "simulate", _DATA, "Make telemetry of a shop that fails."),
        LazyCommand("replay", "forewarn.cli.replay", "replay", _DATA, "Send a recording through the gateway."),
        LazyCommand("convert", "forewarn.cli.convert", "convert", _DATA, "Turn a data set into a recording."),
        LazyCommand("import", "forewarn.cli.imports", "app", _DATA, "Put history into the archive."),
        LazyCommand("models", "forewarn.cli.models", "app", _INSPECT, "Show, compare, promote and roll back models."),
        LazyCommand("capacity", "forewarn.cli.capacity", "capacity", _INSPECT, "Show what fills up within a week."),
        LazyCommand("doctor", "forewarn.cli.doctor", "doctor", _INSPECT, "Find the usual mistakes and their mending."),
        LazyCommand("alerts", "forewarn.cli.alerts", "app", _INSPECT, "Check the alerting file, test a channel."),
        LazyCommand("tokens", "forewarn.cli.tokens", "app", _INSPECT, "Make, list and revoke tokens of the doors."),
        LazyCommand("scrub", "forewarn.cli.scrub", "app", _INSPECT, "Check what is taken out of logs and spans."),
        LazyCommand("rules", "forewarn.cli.rules", "app", _INSPECT, "Check alert rules, try them on history."),
        LazyCommand("responses", "forewarn.cli.responses", "app", _INSPECT, "Check, list, approve, decline responses."),
        LazyCommand("why-not", "forewarn.cli.why_not", "why_not", _INSPECT, "Say why nothing was predicted or told."),
        LazyCommand("backup", "forewarn.cli.backup", "backup", _STACK, "Save all to one file while it runs."),
        LazyCommand("restore", "forewarn.cli.backup", "restore", _STACK, "Put a back-up into a home."),
        LazyCommand("migrate", "forewarn.cli.migrate", "app", _STACK, "Show or upgrade the database's tables."),
        LazyCommand("backtest", "forewarn.cli.backtest", "backtest", _INSPECT, "Score predictions on recordings."),
        LazyCommand("evaluate", "forewarn.cli.evaluate", "evaluate", _INSPECT, "Score the models on public data sets."),
    )


app = typer.Typer(
    cls=_Commands,
    name="forewarn",
    help="Predictive monitoring: what will fail, when, and why.",
    epilog="Start with: [bold]forewarn up[/]   then: [bold]forewarn status[/]",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import forewarn

        typer.echo(f"forewarn {forewarn.__version__}")
        raise typer.Exit


@app.callback()
def forewarn_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predictive monitoring: what will fail, when, and why."""


@app.command(
    rich_help_panel=_STACK,
    epilog="Examples:\n\n"
    "[bold]forewarn up[/]   everything, in this terminal; Ctrl-C stops it in order\n\n"
    "[bold]forewarn up --detach --home ~/forewarn[/]   in the background; stop it with `forewarn down`\n\n"
    "[bold]forewarn up --without dagster,dashboard[/]   light: no training, no page\n\n"
    "[bold]forewarn up --set GATEWAY_PORT=14318 --set MAIL_TO=me@example.org[/]",
)
def up(
    home: Home = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running in the background.")] = False,
    only: Annotated[
        str, typer.Option(metavar="A,B", help="Only these services (or groups) and what they need.", show_default=False)
    ] = "",
    without: Annotated[
        str, typer.Option(metavar="A,B", help="Leave these out, and what needs them.", show_default=False)
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of .env.example for this run; may be repeated."),
    ] = None,
) -> None:
    """Start everything on this machine: no Docker, root or not.

    A broker, PostgreSQL, gateway, archiver, predictor, alerter, a mailbox, Dagster and the dashboard. Ports that are
    taken are replaced by free ones and said. Only one stack runs on a home; a second start tells where it is and
    exits with status 1. A service that dies is started again.
    """
    from forewarn.cli.up import up as run

    run(home, detach, only, without, set_ or [])


@app.command(rich_help_panel=_STACK)
def down(
    home: Home = None,
    force: Annotated[bool, typer.Option("--force", help="Kill instead of stopping in order.")] = False,
) -> None:
    """Stop the stack that runs on this home, in order. Data stays where it is."""
    from forewarn.cli.up import down as run

    run(home, force)


@app.command(
    rich_help_panel=_INSPECT,
    epilog="Exit status: 0 all is up, 1 something is down, 3 nothing runs here.\n\n"
    "Examples:\n\n[bold]forewarn status[/]\n\n[bold]forewarn status --json | jq '.groups'[/]",
)
def status(
    home: Home = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Show what runs, how far behind it is, the champion model, open risks and incidents."""
    from forewarn.cli.status import status as run

    run(home, json)


@app.command(
    rich_help_panel=_INSPECT,
    epilog="Examples:\n\n[bold]forewarn logs gateway[/]\n\n[bold]forewarn logs predictor -f -n 200[/]",
)
def logs(
    name: Annotated[str, typer.Argument(help="A service of `forewarn status`; without it, what there is.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    home: Home = None,
) -> None:
    """Print what a service has logged."""
    from forewarn.cli.logs import logs as run

    run(name, follow, lines, home)


@app.command(rich_help_panel=_INSPECT)
def config(
    home: Home = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Print every setting in force and where it came from; secrets are masked."""
    from forewarn.cli.settings_table import config as run

    run(home, json)


def main() -> None:
    """Entry point of the command `forewarn`."""
    run_to_exit(app)


if __name__ == "__main__":
    main()

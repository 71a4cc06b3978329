"""`forewarn migrate`: which revision the database's tables are at, and bring them to this code's."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.database import connected
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from forewarn.config.settings import Settings
    from forewarn.stores.schema import SchemaState

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Show or upgrade the revision of the database's tables. Services upgrade by themselves when they start.",
)  # fmt: skip


@app.command("status", epilog="Exit status: 0 the tables are those of this code, 1 they are not.")
def status(home: Home = None) -> None:
    """Say which revision the database is at and which this code needs."""
    from forewarn.config.running import client_settings
    from forewarn.stores.schema import known_revisions, require_known

    state, known = _state(client_settings(home)), known_revisions()
    require_known(state)
    waiting = [] if state.revision == known[-1] else [r for r in known if r > (state.revision or "")]
    there = "no tables yet" if state.fresh else state.revision or "made before there were revisions"
    typer.echo(f"database: {there}\ncode:     {known[-1]}")
    if waiting:
        typer.echo(f"to come:  {', '.join(waiting)} (forewarn migrate upgrade)")
        raise typer.Exit(1)


@app.command("upgrade", epilog="Back up first: forewarn backup. There is no way back but `forewarn restore`.")
def upgrade(
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL that would be run, and change nothing.")] = False,
    home: Home = None,
) -> None:
    """Make or upgrade the tables."""
    from forewarn.config.running import client_settings
    from forewarn.stores.schema import create_tables, pending_sql

    settings = client_settings(home)
    state = _state(settings)
    if sql:
        sys.stdout.write(pending_sql(state))
        return
    came_to = create_tables(settings.postgres_url.get_secret_value())
    typer.echo(f"the tables are at revision {came_to} now" if came_to else "nothing to do")


def _state(settings: "Settings") -> "SchemaState":
    from forewarn.stores.schema import state_of

    with connected(settings, autocommit=True) as connection:
        return state_of(connection)

"""`forewarn migrate`: which revision the database's tables are at, and bring them to this code's."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from forewarn.stores.schema import SchemaState

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Show or upgrade the revision of the database's tables. Services upgrade by themselves when they start.",
)  # fmt: skip


@app.command("status", epilog="Exit status: 0 the tables are those of this code, 1 they are not.")
def status(home: Home = None) -> None:
    """Say which revision the database is at and which this code needs."""
    from forewarn.stores.schema import known_revisions, require_known

    state, known = _state(_address(home)), known_revisions()
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
    from forewarn.stores.schema import create_tables, pending_sql

    url = _address(home)
    state = _state(url)
    if sql:
        sys.stdout.write(pending_sql(state))
        return
    came_to = create_tables(url)
    typer.echo(f"the tables are at revision {came_to} now" if came_to else "nothing to do")


def _address(home: Path | None) -> str:
    from forewarn.config.running import client_settings

    return client_settings(home).postgres_url.get_secret_value()


def _state(url: str) -> "SchemaState":
    import psycopg

    from forewarn.stores.schema import state_of

    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            return state_of(connection)
    except psycopg.OperationalError as error:
        raise CommandError(
            f"PostgreSQL does not answer ({str(error).strip()}): is it up? On this machine: forewarn up --only postgres"
        ) from None

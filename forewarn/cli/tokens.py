"""`forewarn tokens`: make tokens for the doors, list them, revoke them."""

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from forewarn.stores.tokens import PostgresTokens, Token

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Make, list and revoke tokens of the doors. Gateways and predictors follow within seconds.",
)  # fmt: skip

_UNITS = {"h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@app.command(
    "create",
    epilog="Scopes: write (or write:metrics, write:logs, write:traces, write:activity), read, act, admin.\n\n"
    "Example:\n\n[bold]forewarn tokens create --name collector-eu --scope write --expires 90d[/]\n\n"
    "To rotate: make another of the same name, give it to the sender, revoke the old one by its id.",
)
def create(
    name: Annotated[str, typer.Option(help="Whose it is.")],
    scope: Annotated[str, typer.Option(metavar="A,B", help="What it opens.")],
    expires: Annotated[str, typer.Option(metavar="AGE", help="90d, 12h, 1y.", show_default="never")] = "",
    home: Home = None,
) -> None:
    """Make a token. It is printed once, on standard output, and stored as a hash only."""
    until = datetime.now(UTC) + _age(expires) if expires else None
    scopes = [each.strip() for each in scope.split(",") if each.strip()]
    with _stored(home) as tokens:
        try:
            token_id, token = tokens.create(name, scopes, getpass.getuser(), until)
        except ValueError as error:
            raise CommandError(str(error)) from None
    typer.echo(token)
    ends = f"expires {until:%Y-%m-%d %H:%M} UTC" if until else "does not expire"
    typer.echo(f"token {token_id} of {name}, {ends}; it is not shown again", err=True)


@app.command("list", epilog="Example:\n\n[bold]forewarn tokens list --json[/]")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False, home: Home = None
) -> None:
    """All tokens with scopes and last use; never the tokens themselves."""
    import json

    from rich.console import Console
    from rich.table import Table

    with _stored(home) as tokens:
        found = tokens.tokens()
    if as_json:
        typer.echo(json.dumps([_plain(token) for token in found], indent=2))
        return
    if not found:
        typer.echo("no tokens yet: forewarn tokens create --name NAME --scope write")
        return
    table = Table("id", "name", "scopes", "state", "made", "by", "last used")
    for token in found:
        row = _plain(token)
        table.add_row(*(str(row[key] or "-") for key in ("id", "name")), ", ".join(token.scopes), str(row["state"]),
                      *(str(row[key] or "-")[:16] for key in ("created_at", "author", "last_used_at")))  # fmt: skip
    Console(highlight=False).print(table)


@app.command("revoke", epilog="Example:\n\n[bold]forewarn tokens revoke 3fa1b2c4[/]")
def revoke(which: Annotated[str, typer.Argument(metavar="ID|NAME", help="One, or all of a name.")],
           home: Home = None) -> None:  # fmt: skip
    """Close the doors to a token; gateways follow within seconds."""
    with _stored(home) as tokens:
        gone = tokens.revoke(which, getpass.getuser())
    if not gone:
        raise CommandError(f"no live token has the id or name '{which}': see `forewarn tokens list`")
    for token in gone:
        typer.echo(f"revoked {token.token_id} of {token.name}")


@contextmanager
def _stored(home: Path | None) -> "Iterator[PostgresTokens]":
    from forewarn.cli.database import connected, database_errors
    from forewarn.config.running import settings_with_sources
    from forewarn.stores.schema import create_tables
    from forewarn.stores.tokens import PostgresTokens

    settings = settings_with_sources(home)[0]
    with database_errors():
        create_tables(settings.postgres_url.get_secret_value())
    with connected(settings) as connection:
        yield PostgresTokens(connection)


def _age(text: str) -> timedelta:
    told = re.fullmatch(r"(\d{1,5})([hdwy])", text.strip())
    if told is None or not int(told[1]):
        raise CommandError(f"--expires {text} is not understood: write 12h, 90d, 4w or 1y")
    return timedelta(seconds=int(told[1]) * _UNITS[told[2]])


def _plain(token: "Token") -> "dict[str, str | list[str] | None]":
    now = datetime.now(UTC)
    state = "revoked" if token.revoked_at else "live" if token.live(now) else "expired"
    times = {
        name: at.isoformat(sep=" ", timespec="seconds") if at else None
        for name, at in (("created_at", token.created_at), ("expires_at", token.expires_at),
                         ("revoked_at", token.revoked_at), ("last_used_at", token.last_used_at))
    }  # fmt: skip
    return {"id": token.token_id, "name": token.name, "scopes": token.scopes, "state": state, "author": token.author,
            **times}  # fmt: skip

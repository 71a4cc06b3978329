"""Tokens of the doors: made and revoked on the command line, hashed at rest, followed without a restart."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from integration.processes import wait_until
from typer.testing import CliRunner

from forewarn.cli.failure import CommandError
from forewarn.cli.tokens import app
from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.tokens import DoorTokens
from forewarn.services.token_cache import TokenCache
from forewarn.stores.tokens import PostgresTokens, token_hash


def _create(url: str, *scopes: str, expires_at: datetime | None = None) -> tuple[str, str]:
    with psycopg.connect(url) as connection:
        return PostgresTokens(connection).create("ann", scopes, "tests", expires_at)


def _status(doors: DoorTokens, door: str, token: str) -> int:
    try:
        doors.check(door, f"Bearer {token}" if token else "")
    except Refused as refusal:
        return refusal.status
    return 200


@pytest.fixture
def doors(postgres_url: str) -> Iterator[DoorTokens]:
    """Doors that follow the database ten times a second."""
    with TokenCache(postgres_url, 0.1) as cache:
        wait_until(lambda: cache.known, 60, "the first reading")
        yield DoorTokens("general", "", cache)


def test_scopes_open_their_doors_only(postgres_url: str, doors: DoorTokens) -> None:
    _, token = _create(postgres_url, "write:metrics", "read")
    wait_until(lambda: _status(doors, "metrics", token) == 200, 60, "the new token")
    assert [_status(doors, door, token) for door in ("grpc_metrics", "remote_write", "logs", "loki", "traces")] == [
        200, 200, 403, 403, 403,
    ]  # fmt: skip
    assert _status(doors, "logs", "general") == 200  # the token of the settings goes on
    assert [_status(doors, "metrics", shown) for shown in ("", "fwn_wrong", token[:-1])] == [401, 401, 401]
    _, writer = _create(postgres_url, "write")
    _, admin = _create(postgres_url, "admin")
    _, reader = _create(postgres_url, "read", "act")
    wait_until(lambda: _status(doors, "metrics", reader) == 403, 60, "the newest token")
    assert [_status(doors, "activity", each) for each in (writer, admin, reader)] == [200, 200, 403]


def test_revoked_and_expired_tokens_close_without_a_restart(postgres_url: str, doors: DoorTokens) -> None:
    token_id, token = _create(postgres_url, "write")
    _, short = _create(postgres_url, "write", expires_at=datetime.now(UTC) + timedelta(seconds=3))
    wait_until(lambda: _status(doors, "logs", token) == 200, 60, "the new token")
    with psycopg.connect(postgres_url) as connection:
        assert [t.name for t in PostgresTokens(connection).revoke(token_id, "tests")] == ["ann"]
        assert PostgresTokens(connection).revoke(token_id, "tests") == []
    wait_until(lambda: _status(doors, "logs", token) == 401, 60, "the revocation")
    wait_until(lambda: _status(doors, "logs", short) == 401, 60, "the expiry")


def test_what_was_known_holds_while_postgresql_is_away(
    postgres_server: str, postgres_url: str, doors: DoorTokens
) -> None:
    _, token = _create(postgres_url, "write")
    wait_until(lambda: _status(doors, "logs", token) == 200, 60, "the new token")
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'alter database "{name}" with allow_connections false')
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        wait_until(lambda: doors._stored is not None and doors._stored._reached is False, 60, "the loss")
        assert _status(doors, "logs", token) == 200
        assert _status(doors, "logs", "fwn_wrong") == 401
        admin.execute(f'alter database "{name}" with allow_connections true')
    _, later = _create(postgres_url, "write")
    wait_until(lambda: _status(doors, "logs", later) == 200, 60, "the token made after the outage")


def test_a_gateway_that_never_saw_the_database_asks_to_try_again() -> None:
    cache = TokenCache("postgresql://nobody@127.0.0.1:1/none", 0.1)
    closed = DoorTokens("", "", cache, closed=True)
    assert _status(closed, "logs", "fwn_maybe") == 503
    assert _status(closed, "logs", "") == 401
    assert _status(DoorTokens("", "", cache), "logs", "") == 200  # nothing asks for a token


def test_command_line(postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    home, runner = ["--home", str(tmp_path)], CliRunner()
    made = runner.invoke(app, ["create", "--name", "eu", "--scope", "read,write:logs", "--expires", "90d", *home])
    assert made.exit_code == 0, made.stderr
    token = made.stdout.strip()
    listed = json.loads(runner.invoke(app, ["list", "--json", *home]).stdout)
    assert [(row["name"], row["scopes"], row["state"]) for row in listed] == [("eu", ["write:logs", "read"], "live")]
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("select t::text, hash from api_tokens t").fetchall()
        audit = connection.execute("select action, reason from audit").fetchall()
    assert bytes(rows[0][1]) == token_hash(token)
    assert token not in rows[0][0] + str(listed) + str(audit)
    assert audit == [("create token", "eu: read, write:logs")]
    assert runner.invoke(app, ["revoke", "eu", *home]).exit_code == 0
    assert json.loads(runner.invoke(app, ["list", "--json", *home]).stdout)[0]["state"] == "revoked"
    assert "eu" in runner.invoke(app, ["list", *home]).stdout
    for wrong in (["revoke", "eu"], ["create", "--name", "x", "--scope", "wirte"],
                  ["create", "--name", "x", "--scope", "read", "--expires", "soon"]):  # fmt: skip
        assert isinstance(runner.invoke(app, [*wrong, *home]).exception, CommandError)

"""Tokens of the doors in PostgreSQL: only their hashes, with scopes, expiry and when they were last used."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from forewarn.stores.audit import PostgresAudit

WRITE_SCOPES = ("write:metrics", "write:logs", "write:traces", "write:activity")
SCOPES = ("write", *WRITE_SCOPES, "read", "act", "admin")
PREFIX = "fwn_"  # so that scanners of repositories, and our own scrubbing, know one when they see it


@dataclass(frozen=True, slots=True)
class Token:
    """A row; the token itself is known to its owner alone."""

    token_id: str
    name: str
    scopes: list[str]
    hash: bytes
    author: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def live(self, at: datetime) -> bool:
        """Whether it opens anything at that time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)

    def allows(self, scope: str) -> bool:
        """Whether the scopes include it: `admin` includes all, `write` each `write:…`."""
        return bool({scope, scope.partition(":")[0], "admin"} & set(self.scopes))


def token_hash(token: str) -> bytes:
    """What is stored. A slow hash would add nothing: 256 random bits cannot be tried out."""
    return hashlib.sha256(token.encode()).digest()


def check_scopes(scopes: Sequence[str]) -> list[str]:
    """The scopes in the order of SCOPES, each once. Raises ValueError for none, or one that there is not."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ValueError(f"{', '.join(unknown) or 'nothing'} is no scope: there are {', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in scopes]


class PostgresTokens:
    """Tokens on a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def create(
        self, name: str, scopes: Sequence[str], author: str, expires_at: datetime | None = None
    ) -> tuple[str, str]:
        """A new token: its identity and the token, which cannot be read again. Raises ValueError, see check_scopes."""
        if not name.strip():
            raise ValueError("a token needs a name: whose it is")
        token, token_id = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(4)
        self._connection.execute(
            b"insert into api_tokens (token_id, name, scopes, hash, author, expires_at)"
            b" values (%s, %s, %s, %s, %s, %s)",
            (token_id, name.strip(), check_scopes(scopes), token_hash(token), author, expires_at),
        )
        PostgresAudit(self._connection).write(author, "create token", token_id, f"{name}: {', '.join(scopes)}")
        return token_id, token

    def revoke(self, which: str, author: str) -> list[Token]:
        """Revoke one by identity, or all of a name; those that were not revoked until now."""
        cursor = self._connection.cursor(row_factory=class_row(Token))
        gone = cursor.execute(
            b"update api_tokens set revoked_at = now() where revoked_at is null and (token_id = %s or name = %s)"
            b" returning token_id, name, scopes, hash, author, created_at, expires_at, revoked_at, last_used_at",
            (which, which),
        ).fetchall()
        for token in gone:
            PostgresAudit(self._connection).write(author, "revoke token", token.token_id, token.name)
        return gone

    def tokens(self) -> list[Token]:
        """All, newest first, those that are revoked or expired among them."""
        cursor = self._connection.cursor(row_factory=class_row(Token))
        return cursor.execute(
            b"select token_id, name, scopes, hash, author, created_at, expires_at, revoked_at, last_used_at"
            b" from api_tokens order by created_at desc, token_id"
        ).fetchall()

    def live(self) -> dict[bytes, Token]:
        """Those that may open a door, by hash."""
        return {bytes(token.hash): token for token in self.tokens() if token.live(datetime.now(UTC))}

    def used(self, token_ids: Collection[str]) -> None:
        """Note that they were used now."""
        self._connection.execute(
            b"update api_tokens set last_used_at = now() where token_id = any(%s)", (sorted(token_ids),)
        )

"""Who may see the dashboard and who may change something: users of a file or of a provider, readers and editors."""

import fnmatch
import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import panel as pn
from panel.auth import AUTH_PROVIDERS, OAuthLoginHandler

from forewarn.config.settings import Settings

READER, EDITOR = "reader", "editor"
ROLES = (READER, EDITOR)
COST = {"n": 2**14, "r": 8, "p": 1, "maxmem": 2**26}  # of scrypt
FAILURES, WAIT_SECONDS = 5, 30.0  # so many wrong passwords of a user, then a pause
_NOBODY = f"scrypt${'00' * 16}${'00' * 32}"


class AccessError(ValueError):
    """The dashboard must not be served like this; says what to set."""


@dataclass(frozen=True, slots=True)
class User:
    """A line of the users' file."""

    name: str
    role: str
    password: str  # scrypt$salt$hash


def hashed(password: str, salt: bytes | None = None) -> str:
    """`scrypt$salt$hash`, both in hex."""
    salt = salt or secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, dklen=32, **COST).hex()}"


def parse_users(text: str) -> dict[str, User]:
    """Lines `name:role:scrypt$…`; empty ones and those that begin with # are left out. Raises AccessError."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, role, password = (part.strip() for part in [*line.split(":", 2), "", ""][:3])
        parts = password.split("$")
        if not name or role not in ROLES or len(parts) != 3 or parts[0] != "scrypt":
            raise AccessError(f"line {number}: write name:reader or editor:hash, as `python -m panel_app.users` does")
        users[name] = User(name, role, password)
    return users


@dataclass(slots=True)
class Access:
    """Roles by user. Without sign-in (`on` is False) everybody is an editor. file: read again when it was written."""

    on: bool = False
    file: Path | None = None
    editors: frozenset[str] = frozenset()  # of those whom a provider signs in: names, or patterns as *@example.com
    readers: frozenset[str] = frozenset()  # none: all of them
    _users: dict[str, User] = field(default_factory=dict)
    _written: int = -1
    _failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def role_of(self, user: str | None) -> str | None:
        """READER, EDITOR, or None for who may not see anything."""
        if not self.on:
            return EDITOR
        if not user or user == "guest":
            return None
        if self.file is not None:
            found = self.users().get(user)
            return found.role if found else None
        if _among(user, self.editors):
            return EDITOR
        return READER if not self.readers or _among(user, self.readers) else None

    def users(self) -> dict[str, User]:
        """Those of the file; while it cannot be used, those that were known."""
        assert self.file is not None
        try:
            written = self.file.stat().st_mtime_ns
            if written != self._written:
                self._users, self._written = parse_users(self.file.read_text(encoding="utf-8")), written
        except (OSError, UnicodeDecodeError, AccessError):
            self._written = -1
        return self._users

    def right(self, name: str, password: str) -> bool:
        """Whether this is the user's password; slow on purpose. After FAILURES wrong ones none is for a while."""
        count, since = self._failures.get(name, (0, 0.0))
        if count >= FAILURES and time.monotonic() - since < WAIT_SECONDS:
            return False
        known = self.users().get(name)
        _, salt, _ = (known.password if known else _NOBODY).split("$")
        same = hmac.compare_digest(hashed(password, bytes.fromhex(salt)), known.password if known else _NOBODY)
        if len(self._failures) > 10_000:
            self._failures.clear()
        if same:
            self._failures.pop(name, None)
        else:
            self._failures[name] = (count + 1 if count < FAILURES else 1, time.monotonic())
        return same and known is not None


def access_of(settings: Settings) -> Access:
    """How the settings let people in. Raises AccessError where they would let everybody change it from anywhere."""
    if settings.dashboard_users is not None:
        return Access(True, settings.dashboard_users, _users=_first(settings.dashboard_users))
    if settings.oidc_issuer or pn.config.oauth_provider:
        _check_provider(settings)
        return Access(True, None, _names(settings.dashboard_editors), _names(settings.dashboard_readers))
    if not _loopback(settings.bind_host) and not settings.dashboard_open:
        raise AccessError(
            f"{settings.bind_host} is reached by others, and nobody needs to sign in: set FOREWARN_DASHBOARD_USERS or "
            "FOREWARN_OIDC_ISSUER (docs/dashboard.md), or FOREWARN_DASHBOARD_OPEN=1 where something else keeps "
            "strangers away"
        )
    return Access()


def _check_provider(settings: Settings) -> None:
    """Raises AccessError for a provider that could not be trusted or used."""
    if settings.oidc_issuer:
        issuer = urlsplit(settings.oidc_issuer)
        if issuer.scheme != "https" and not _loopback(issuer.hostname or ""):
            raise AccessError("FOREWARN_OIDC_ISSUER must begin with https://: its keys are read from there")
        if settings.oidc_client_secret is None:
            raise AccessError("FOREWARN_OIDC_ISSUER needs FOREWARN_OIDC_CLIENT_SECRET")
        return
    handler = AUTH_PROVIDERS.get(pn.config.oauth_provider)
    if handler is None or not issubclass(handler, OAuthLoginHandler):
        raise AccessError(
            f"PANEL_OAUTH_PROVIDER={pn.config.oauth_provider} is no provider of OAuth (docs/dashboard.md)"
        )


def _first(path: Path) -> dict[str, User]:
    try:
        users = parse_users(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"FOREWARN_DASHBOARD_USERS: {path} cannot be read: {error}") from None
    except AccessError as error:
        raise AccessError(f"FOREWARN_DASHBOARD_USERS: {path}, {error}") from None
    if not users:
        raise AccessError(f"FOREWARN_DASHBOARD_USERS: {path} names nobody; add a line with `python -m panel_app.users`")
    return users


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().casefold() for name in text.split(",") if name.strip())


def _among(user: str, names: frozenset[str]) -> bool:
    return any(fnmatch.fnmatchcase(user.casefold(), name) for name in names)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

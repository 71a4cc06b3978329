"""Who may send: tokens of the settings, one for every door or one for each, and those of PostgreSQL with scopes."""

import hmac

from forewarn.config.settings import Settings
from forewarn.services.gateway.answers import Refused
from forewarn.services.token_cache import TokenCache
from forewarn.stores.tokens import PREFIX

DOORS = ("metrics", "logs", "traces", "activity", "remote_write", "logs_json", "loki")
_RETRY_AFTER_SECONDS = 5
_SCOPES = {
    "metrics": "write:metrics", "remote_write": "write:metrics", "logs": "write:logs", "logs_json": "write:logs",
    "loki": "write:logs", "traces": "write:traces", "activity": "write:activity",
}  # fmt: skip
_GRPC = "grpc_"  # OTLP over gRPC has the tokens of OTLP over HTTP


class DoorTokens:
    """Bearer tokens by door. Without any token every door is open; with one, a door without a token is closed."""

    def __init__(self, general: str, by_door: str, stored: TokenCache | None = None, closed: bool = False) -> None:
        """general: accepted at every door, '' for none. by_door: `metrics=TOKEN,loki=TOKEN,…`.
        stored: tokens of PostgreSQL. closed: a token is required even if none is given here.

        Raises ValueError that names the door, never a token.
        """
        self._general = general.encode()
        self._stored, self._closed = stored, closed
        self._own: dict[str, bytes] = {}
        for number, entry in enumerate((e for e in by_door.split(",") if e.strip()), start=1):
            door, equals, token = (part.strip() for part in entry.partition("="))
            if not equals:
                raise ValueError(f"entry {number} is no DOOR=TOKEN")
            if door not in DOORS:
                raise ValueError(f"entry {number} names the door {door!r}: there are {', '.join(DOORS)}")
            if not token:
                raise ValueError(f"the door {door} has an empty token")
            self._own[door] = token.encode()

    @property
    def required(self) -> bool:
        """Whether senders need a token."""
        return bool(self._general or self._own or self._closed)

    def check(self, door: str, authorization: str) -> None:
        """Raises Refused: 401 where the request shows no token, 403 where it is not one of this door.

        503 where only PostgreSQL could tell, and it has not answered since the start.
        """
        if not self.required:
            return
        scheme, _, shown = authorization.partition(" ")
        token = shown.strip().encode() if scheme.lower() == "bearer" else b""
        known = [t for t in (self._general, self._own.get(door.removeprefix(_GRPC), b"")) if t]
        if not any([hmac.compare_digest(token, each) for each in known]):  # noqa: C419  all are compared: no timing
            self._check_stored(_SCOPES[door.removeprefix(_GRPC)], token.decode("latin-1"))

    def _check_stored(self, scope: str, token: str) -> None:
        found = self._stored.find(token) if self._stored is not None else None
        if found is not None and found.allows(scope):
            return
        if found is not None:
            raise Refused(403, f"this token may {', '.join(found.scopes)}; this door needs {scope}")
        if token.startswith(PREFIX) and self._stored is not None and not self._stored.known:
            raise Refused(503, "tokens cannot be looked up yet: PostgreSQL has not answered", _RETRY_AFTER_SECONDS)
        raise Refused(
            401,
            "send 'Authorization: Bearer <token>' with a token of this door (`forewarn tokens create`, "
            "FOREWARN_GATEWAY_TOKEN, FOREWARN_GATEWAY_DOOR_TOKENS)",
        )


def settings_tokens(settings: Settings, stored: TokenCache | None = None) -> DoorTokens:
    """The tokens of the settings. Raises ValueError, see `DoorTokens`."""
    secrets = (settings.gateway_token, settings.gateway_door_tokens)
    general, by_door = (secret.get_secret_value() if secret else "" for secret in secrets)
    try:
        return DoorTokens(general, by_door, stored, settings.require_token)
    except ValueError as error:
        raise ValueError(f"FOREWARN_GATEWAY_DOOR_TOKENS: {error}") from None

"""Who may send: one token for every door, or one of its own for each."""

import hmac

from forewarn.config.settings import Settings
from forewarn.services.gateway.answers import Refused

DOORS = ("metrics", "logs", "traces", "activity", "remote_write", "logs_json", "loki")
_GRPC = "grpc_"  # OTLP over gRPC has the tokens of OTLP over HTTP


class DoorTokens:
    """Bearer tokens by door. Without any token every door is open; with one, a door without a token is closed."""

    def __init__(self, general: str, by_door: str) -> None:
        """general: accepted at every door, '' for none. by_door: `metrics=TOKEN,loki=TOKEN,…`.

        Raises ValueError that names the door, never a token.
        """
        self._general = general.encode()
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
        return bool(self._general or self._own)

    def check(self, door: str, authorization: str) -> None:
        """Raises Refused(401) where the request does not show a token of this door."""
        if not self.required:
            return
        scheme, _, shown = authorization.partition(" ")
        token = shown.strip().encode() if scheme.lower() == "bearer" else b""
        known = [t for t in (self._general, self._own.get(door.removeprefix(_GRPC), b"")) if t]
        if not any([hmac.compare_digest(token, each) for each in known]):  # noqa: C419  all are compared: no timing
            raise Refused(
                401,
                "send 'Authorization: Bearer <token>' with a token of this door "
                "(FOREWARN_GATEWAY_TOKEN, FOREWARN_GATEWAY_DOOR_TOKENS)",
            )


def settings_tokens(settings: Settings) -> DoorTokens:
    """The tokens of the settings. Raises ValueError, see `DoorTokens`."""
    secrets = (settings.gateway_token, settings.gateway_door_tokens)
    general, by_door = (secret.get_secret_value() if secret else "" for secret in secrets)
    try:
        return DoorTokens(general, by_door)
    except ValueError as error:
        raise ValueError(f"FOREWARN_GATEWAY_DOOR_TOKENS: {error}") from None

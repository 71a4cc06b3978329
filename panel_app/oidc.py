"""An OpenID Connect provider: where its doors are, by its discovery, and whether an ID token is of its making."""

import hashlib
import threading
from typing import Any

import httpx
import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")  # no secrets
TIMEOUT_SECONDS = 5.0
_LEEWAY_SECONDS = 60.0
_REQUIRED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderAway(Exception):  # noqa: N818  it is a state of the provider
    """It does not answer, or not as OpenID Connect says; in words."""


class NotAdmitted(Exception):  # noqa: N818  it is an answer
    """What was shown does not say who somebody is; in words."""


class Provider:
    """Asked when somebody signs in, so that the dashboard starts while it is away; safe to use from several threads."""

    def __init__(self, issuer: str, client_id: str, claim: str) -> None:
        self._issuer, self._client_id, self._claim = issuer, client_id, claim
        self._lock = threading.Lock()
        self._known: dict[str, Any] | None = None
        self._keys: jwt.PyJWKClient | None = None

    def discover(self) -> dict[str, Any]:
        """Its configuration, read once. Raises ProviderAway."""
        with self._lock:
            if self._known is None:
                self._known = self._read()
                self._keys = jwt.PyJWKClient(self._known["jwks_uri"], timeout=TIMEOUT_SECONDS)
            return self._known

    def user_of(self, id_token: str, nonce: str) -> str:
        """The user whom an ID token names. Raises NotAdmitted, ProviderAway (its keys cannot be read)."""
        configuration = self.discover()
        assert self._keys is not None
        try:
            key = self._keys.get_signing_key_from_jwt(id_token)
            claims = jwt.decode(
                id_token, key, algorithms=list(ALGORITHMS), audience=self._client_id, issuer=configuration["issuer"],
                leeway=_LEEWAY_SECONDS, options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.PyJWKClientConnectionError as error:
            raise ProviderAway(f"the keys of {self._issuer} cannot be read: {error}") from error
        except jwt.PyJWTError as error:
            raise NotAdmitted(f"the ID token is not one of {self._issuer} for us: {error}") from error
        return self._named(claims, nonce)

    def _named(self, claims: dict[str, Any], nonce: str) -> str:
        if claims.get("nonce") != nonce:
            raise NotAdmitted("the ID token was not made for this sign-in")
        if claims.get("azp", self._client_id) != self._client_id:
            raise NotAdmitted("the ID token was made for another party")
        user = claims.get(self._claim)
        if not isinstance(user, str) or not user.strip():
            raise NotAdmitted(f"the ID token has no '{self._claim}' (FOREWARN_OIDC_USER_CLAIM)")
        if self._claim == "email" and claims.get("email_verified") is False:
            raise NotAdmitted(f"the provider has not verified that {user} is yours")
        return user

    def _read(self) -> dict[str, Any]:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = httpx.get(url, timeout=TIMEOUT_SECONDS).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderAway(f"{self._issuer} does not answer as a provider does: {error}") from error
        missing = [name for name in _REQUIRED if not isinstance(found, dict) or not isinstance(found.get(name), str)]
        if missing:
            raise ProviderAway(f"{url} does not say its {missing[0]}")
        if found["issuer"].rstrip("/") != self._issuer.rstrip("/"):
            raise ProviderAway(f"{url} is of another issuer, {found['issuer']}")
        return dict(found)


def nonce_of(state: str) -> str:
    """Binds an ID token to the sign-in that asked for it; state: which the browser's cookie holds."""
    return hashlib.sha256(f"nonce {state}".encode()).hexdigest()

"""Signing in by a provider: Panel's OAuth with what it leaves open shut, and ID tokens verified by an issuer's keys.

Panel reads ID tokens without looking at their signature, lets a state pass that is empty on both sides, lets in whoever
has signed in at the provider, and answers what it did not expect with a page that fetches scripts from elsewhere.
"""

import asyncio
import inspect
import json
import secrets
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import panel as pn
import structlog
from panel.auth import AUTH_PROVIDERS, OAuthLoginHandler, OAuthProvider
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError, RequestHandler

from forewarn.alerting.wording import one_line
from forewarn.config.settings import Settings
from panel_app.access import Access
from panel_app.oidc import NotAdmitted, Provider, ProviderAway, nonce_of
from panel_app.rendering import asset, render

_TOKENS = ("access_token", "refresh_token", "id_token", "oauth_expiry")  # cookies for Panel's renewal of tokens alone
_COOKIES = ("user", "is_guest", *_TOKENS)
_NOT_OURS = "State mismatch: this sign-in was not begun in this browser, or is used up."
_AWAY = "The provider does not answer as it should. Try again in a minute."
_T = TypeVar("_T")
logger = structlog.get_logger("panel_app")


class SignInError(HTTPError):  # type: ignore[misc]
    """Nobody is signed in; the message is for whoever tried."""


class ProviderLogin(OAuthLoginHandler):  # type: ignore[misc]
    """Stands before Panel's handler of a provider; cookies are given out once it is known who it is, and may read."""

    access: Access
    secure = False
    provider: Provider | None = None

    def prepare(self) -> None:
        """Before each request."""
        self._pending: dict[str, tuple[Any, dict[str, Any]]] = {}

    async def get(self) -> None:
        """To the provider, and back from it."""
        said = one_line(self._came_back("error_description") or self._came_back("error"), 300)
        if said:
            ours = self.get_state_cookie() == self._came_back("state")  # else anybody could put words onto this page
            raise SignInError(401, f"The provider refused: {said}" if ours else _NOT_OURS)
        if self.provider is not None:
            _use(await self._asking(asyncio.to_thread(self.provider.discover)))
        going = super().get()
        if inspect.isawaitable(going):
            await going

    def _came_back(self, name: str) -> str:
        """What the provider added to the address; Panel also looks for it in the page that was asked for."""
        asked = parse_qs(urlsplit(self.get_argument("next", "")).query)
        return self.get_argument(name, "") or asked.get(name, [""])[0]

    async def _fetch_access_token(self, *arguments: Any, **more: Any) -> Any:
        """Panel's way to tokens and a user, who is let in here."""
        found = await self._asking(super()._fetch_access_token(*arguments, **more))
        return found if more.get("refresh_token") else (await self._let_in(found[0]), *found[1:])

    async def _let_in(self, user: str | None) -> str:
        if self.provider is not None:
            shown, _ = self._pending.get("id_token", ("", {}))
            nonce = nonce_of(self._state_cookie or "")
            user = await self._asking(asyncio.to_thread(self.provider.user_of, _text(shown), nonce))
        if user is None or self.access.role_of(user) is None:
            who = one_line(user or "Nobody", 100)
            raise SignInError(403, f"{who} may not read this: ask whoever runs Forewarn (FOREWARN_DASHBOARD_READERS).")
        logger.info("signed in", user=user, role=self.access.role_of(user))
        self._pending["user"] = (user, self._pending["user"][1])
        for name, (value, options) in self._pending.items():
            if name not in _TOKENS or pn.config.oauth_refresh_tokens:
                super().set_secure_cookie(name, value, **options)
        return user

    @staticmethod
    async def _asking(question: Awaitable[_T]) -> _T:
        """What a provider answers. Raises SignInError in words for whoever signs in."""
        try:
            return await question
        except ProviderAway as error:
            raise SignInError(503, f"{error}. Try again in a minute.") from error
        except NotAdmitted as error:
            raise SignInError(401, f"{error}.") from error
        except (OSError, HTTPClientError, ValueError, TypeError, LookupError, AttributeError) as error:
            # no connection, no JSON, or JSON that is made otherwise than Panel takes for granted
            logger.warning("sign-in: the provider does not answer", error=f"{type(error).__name__}: {error}")
            raise SignInError(503, _AWAY) from error

    def authorize_redirect(self, *arguments: Any, **more: Any) -> None:
        """With a nonce, which comes back inside the ID token."""
        if self.provider is not None:
            extra = more["extra_params"]
            more["extra_params"] = {**extra, "nonce": nonce_of(extra["state"])}
        super().authorize_redirect(*arguments, **more)

    def get_state_cookie(self) -> str:
        """No cookie is no state, not an empty one that an empty one would equal."""
        return super().get_state_cookie() or secrets.token_hex(16)

    def set_secure_cookie(self, name: str, value: Any, *arguments: Any, **options: Any) -> None:
        """Who it is waits until that is certain."""
        options |= {"samesite": "lax", "secure": self.secure}
        if name in _COOKIES:
            self._pending[name] = (value, options)
        else:
            super().set_secure_cookie(name, value, *arguments, **options)

    def _raise_error(self, response: Any, body: Any = None, status: int = 400) -> None:
        if response is None or response.code >= 500:
            raise SignInError(503, _AWAY)
        told = _json(response.body)
        said = one_line(str(told.get("error_description") or told.get("error") or f"it answered {response.code}"), 300)
        logger.warning("sign-in: the provider refused", status=response.code, said=said)
        raise SignInError(401, f"The provider refused: {said}")

    def write_error(self, status_code: int, **more: Any) -> None:
        """A page that fetches nothing from elsewhere."""
        text = _words(more.get("exc_info", (None, None, None))[1])
        logger.warning("sign-in failed", status=status_code, reason=text[:300])
        write_message(self, "You are not signed in", text[:500])


class ProviderLogout(RequestHandler):
    """Forgets who it was; the provider does not."""

    def get(self) -> None:
        """A page with the way back, as the form of the provider would let in at once whom it knows."""
        for name in _COOKIES:
            self.clear_cookie(name)
        write_message(self, "You have signed out here", "You may still be signed in at the provider.")


class ProviderAuth(OAuthProvider):  # type: ignore[misc]
    """Panel's provider with our login and logout; whoever may not read any more is nobody at once."""

    def __init__(self, access: Access, secure: bool, provider: Provider | None) -> None:
        self._access, self._secure, self._provider = access, secure, provider
        super().__init__()

    @property
    def get_user_async(self) -> Any:
        """Name of the user of a request, None where nobody may see anything."""
        known = super().get_user_async

        async def user(handler: RequestHandler) -> str | None:
            name: str | None = await known(handler)
            return name if self._access.role_of(name) else None

        return user

    @property
    def login_handler(self) -> type[RequestHandler]:
        """See ProviderLogin."""
        panels = AUTH_PROVIDERS[pn.config.oauth_provider]
        ours = {"access": self._access, "secure": self._secure, "provider": self._provider}
        found: type[RequestHandler] = type("Login", (ProviderLogin, panels), ours)
        return found

    @property
    def logout_handler(self) -> type[RequestHandler]:
        """See ProviderLogout."""
        return ProviderLogout


def provider_options(settings: Settings, access: Access, secure: bool) -> dict[str, Any]:
    """What `get_server` needs to sign people in by the provider of the settings, or by that of Panel's own."""
    if not settings.oidc_issuer:
        return {"auth_provider": ProviderAuth(access, secure, None)}
    pn.config.oauth_provider = "generic"
    secret = settings.oidc_client_secret
    provider = Provider(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_user_claim)
    return {
        "auth_provider": ProviderAuth(access, secure, provider), "oauth_key": settings.oidc_client_id,
        "oauth_secret": secret.get_secret_value() if secret else None, "oauth_jwt_user": settings.oidc_user_claim,
        "oauth_redirect_uri": f"{settings.public_url.rstrip('/')}/login",
    }  # fmt: skip


def write_message(handler: RequestHandler, title: str, text: str) -> None:
    """A page about signing in."""
    theme = "dark" if handler.get_cookie("forewarn_theme") == "dark" else "light"
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    handler.set_header("Content-Security-Policy", "frame-ancestors 'none'")
    fresh = handler.get_status() == 200
    handler.finish(
        render("sign_in_message.html", title=title, text=text, theme=theme, css=asset("forewarn.css"), fresh=fresh)
    )


def _use(found: dict[str, Any]) -> None:
    """Tell Panel where the provider's doors are."""
    urls = {"AUTHORIZE_URL": found["authorization_endpoint"], "TOKEN_URL": found["token_endpoint"]}
    pn.config.oauth_extra_params = {
        **urls,
        "USER_URL": found.get("userinfo_endpoint", ""),
        "scope": ["openid", "email", "profile"],
    }


def _words(error: object) -> str:
    """What we, Panel or Tornado said, where it is for people."""
    said = error.get_message() if isinstance(error, HTTPError) else None
    return said or "Something went wrong here. Try again, and tell whoever runs Forewarn."


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(token: str | bytes) -> str:
    return token if isinstance(token, str) else token.decode("utf-8", "replace")

"""Signing in by name and password, on top of Panel's authentication; by a provider: see provider_sign_in."""

import asyncio
from collections.abc import Callable
from typing import Any

import panel as pn
from panel.auth import BasicAuthProvider, BasicLoginHandler, _validate_next_url
from tornado.web import HTTPError, RequestHandler, decode_signed_value

from forewarn.alerting.links import read_key
from forewarn.config.settings import Settings
from forewarn.config.tls import scheme
from panel_app.access import Access
from panel_app.provider_sign_in import provider_options
from panel_app.rendering import asset, render

DAYS = 7  # that one stays signed in


class Login(BasicLoginHandler):  # type: ignore[misc]
    """A page of our own, that fetches nothing from elsewhere, and the check against the users' file."""

    access: Access
    secure = False

    def get(self) -> None:
        """The form."""
        self._form("", _validate_next_url(self.get_argument("next", "/")) or "/")

    async def post(self) -> None:
        """Sign in, and on to the page that was asked for."""
        following = _validate_next_url(self.get_argument("next", "/")) or "/"
        name, password = self.get_argument("username", ""), self.get_argument("password", "")
        if not await asyncio.to_thread(self.access.right, name, password):
            self.set_status(401)
            self._form("Name or password are not right. After five wrong ones wait half a minute.", following)
            return
        self.set_secure_cookie("user", name, expires_days=DAYS, httponly=True, samesite="lax", secure=self.secure)
        self.redirect(following)

    def _form(self, error: str, following: str) -> None:
        theme = "dark" if self.get_cookie("forewarn_theme") == "dark" else "light"
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.write(render("login.html", error=error, following=following, theme=theme, css=asset("forewarn.css")))


class Logout(RequestHandler):
    """Forgets who it was."""

    def get(self) -> None:
        """To the form."""
        self.clear_cookie("user")
        self.redirect("/login")


class FileAuth(BasicAuthProvider):  # type: ignore[misc]
    """Panel's provider with our login and logout; a user who was taken out of the file is nobody at once."""

    def __init__(self, access: Access, secure: bool) -> None:
        self._access, self._secure = access, secure  # the base class asks for the handlers at once
        super().__init__()

    @property
    def get_user(self) -> Any:
        """Name of the user of a request, None where nobody may see anything."""
        known = super().get_user

        def user(handler: RequestHandler) -> str | None:
            name: str | None = known(handler)
            return name if self._access.role_of(name) else None

        return user

    @property
    def login_handler(self) -> type[Login]:
        """See Login."""
        return type("Login", (Login,), {"access": self._access, "secure": self._secure})

    @property
    def logout_handler(self) -> type[Logout]:
        """See Logout."""
        return Logout


def server_options(settings: Settings, access: Access) -> dict[str, Any]:
    """What `get_server` needs for people to sign in; {} where nobody has to."""
    if not access.on:
        return {}
    key = pn.config.cookie_secret or read_key(settings.home / "dashboard.key")
    secure = settings.public_url.startswith("https://") or scheme(settings) == "https"
    if access.file is None:
        return {**provider_options(settings, access, secure), "cookie_secret": key}
    return {"auth_provider": FileAuth(access, secure), "cookie_secret": key}


def sign_in_of(access: Access) -> Callable[[], bool]:
    """Whether the reader of the page that is being built may still see it, whenever that is asked later."""
    if not access.on:
        return lambda: True
    user, cookie, key, days = pn.state.user, pn.state.cookies.get("user"), pn.config.cookie_secret, _days(access)
    return lambda: (
        access.role_of(user) is not None and decode_signed_value(key, "user", cookie, max_age_days=days) is not None
    )


def require_reader(handler: RequestHandler, access: Access) -> None:
    """Raises HTTPError 403 where who asks is not signed in."""
    if not access.on:
        return
    raw = handler.get_secure_cookie("user", max_age_days=_days(access))
    if access.role_of(raw.decode("utf-8", "replace") if raw else None) is None:
        raise HTTPError(403, reason="Sign in first")


def _days(access: Access) -> float:
    return DAYS if access.file is not None else float(pn.config.oauth_expiry)

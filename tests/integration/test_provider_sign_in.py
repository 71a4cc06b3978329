"""Signing in to a dashboard process by an OpenID Connect provider: who gets in, as what, and who does not."""

import asyncio
import contextlib
import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import panel as pn
import psycopg
import pytest
from oidc_provider import CLIENT, SECRET, OidcProvider, new_key
from pydantic import SecretStr
from servers import free_port, wait_for_port
from starlette.responses import JSONResponse, PlainTextResponse
from tornado.web import Application

from forewarn.config.settings import Settings
from forewarn.stores.schema import create_tables
from panel_app.access import access_of
from panel_app.oidc import Provider
from panel_app.provider_sign_in import ProviderAuth

REPORT = "/reports/11111111-1111-1111-1111-111111111111"


@dataclass
class Site:
    """A dashboard process and the provider that it knows."""

    url: str
    provider: OidcProvider

    @contextlib.contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
def site(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute("create database provider_sign_in")
    database = psycopg.conninfo.make_conninfo(postgres_server, dbname="provider_sign_in")
    create_tables(database)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    provider = OidcProvider(redirects=(f"{url}/login",))
    given = {
        "POSTGRES_URL": database, "HOME": str(tmp_path_factory.mktemp("home")), "DASHBOARD_PORT": str(port),
        "PUBLIC_URL": url, "OIDC_ISSUER": provider.issuer, "OIDC_CLIENT_ID": CLIENT, "OIDC_CLIENT_SECRET": SECRET,
        "DASHBOARD_EDITORS": "Mia@example.org", "DASHBOARD_READERS": "*@example.org, guest@elsewhere.example",
    }  # fmt: skip
    environment = os.environ | {f"FOREWARN_{name}": value for name, value in given.items()}
    process = subprocess.Popen([sys.executable, "-m", "panel_app"], env=environment)  # the provider is away meanwhile
    try:
        wait_for_port(port, 240)
        yield Site(url, provider)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def away(site: Site) -> OidcProvider:
    """It does what it should, once it runs."""
    mine, fresh = site.provider, OidcProvider(port=site.provider.port, key=site.provider.published)
    mine.user, mine.change, mine.refuse, mine.deny, mine.key = fresh.user, fresh.change, None, None, fresh.key
    mine.requests.clear()
    return mine


@pytest.fixture
def provider(away: OidcProvider) -> Iterator[OidcProvider]:
    """It runs and does what it should."""
    with away.running():
        yield away


def said(page: httpx.Response) -> str:
    """The message of a page about signing in, which fetches nothing from elsewhere."""
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    found = re.search(r'role="alert"[^>]*>([^<]*)<', page.text)
    assert found, page.text[:500]
    return html.unescape(found[1])


def outside(client: httpx.Client) -> bool:
    """Whether nothing is shown to this browser."""
    pages = [client.get(path, follow_redirects=False) for path in ("/", "/settings", "/ledger")]
    return all(p.status_code == 302 and p.headers["location"].startswith("./login") for p in pages) and (
        client.get(REPORT).status_code == 403
    )


def socket_status(client: httpx.Client) -> int:
    """What a page's websocket is answered with: 101 where it is opened."""
    headers = {
        "Origin": str(client.base_url).rstrip("/"), "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "bokeh, no-token",
    }  # fmt: skip
    with client.stream("GET", "/settings/ws", headers=headers, follow_redirects=False) as answer:
        return answer.status_code


def callback(client: httpx.Client) -> dict[str, str]:
    """Go to the provider and come back as far as its answer: what it sends us to."""
    to_provider = client.get("/login?next=/settings", follow_redirects=False).headers["location"]
    back = httpx.get(to_provider).headers["location"]
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def is_for_readers(page: httpx.Response) -> bool:
    """Whether the pieces of a page are marked so: what changes something is hidden then, and refused."""
    assert 'class="live' in page.text
    return 'class="live reader"' in page.text


def test_nothing_is_shown_before_and_what_was_asked_for_after(site: Site, provider: OidcProvider) -> None:
    with site.browser() as client:
        assert outside(client) and socket_status(client) in (302, 403)
        page = client.get("/settings?x=1")
        assert page.status_code == 200 and page.url.path == "/settings" and page.url.query == b"x=1"
        assert "mia@example.org" in page.text and "Sign out" in page.text
        assert client.get(REPORT).status_code == 404, "there is none, but it may be asked for"
        assert socket_status(client) == 101
        assert set(client.cookies) == {"user"}, "tokens of the provider are not kept in the browser"
        assert [door for door, _ in provider.requests] == ["authorize", "token"]
        gone = client.get("/logout")
        assert "You may still be signed in at the provider" in said(gone)
        assert outside(client)


def test_cookies_are_for_this_site_and_out_of_reach_of_scripts(site: Site, provider: OidcProvider) -> None:
    with site.browser() as client:
        begun = client.get("/login", follow_redirects=False)
        done = client.get("/login", params=callback(client), follow_redirects=False)
    for cookie in [*begun.headers.get_list("set-cookie"), *done.headers.get_list("set-cookie")]:
        if '=""' not in cookie:
            assert "HttpOnly" in cookie and "SameSite=lax" in cookie, cookie
    assert "client_secret" not in begun.headers["location"]


@pytest.mark.parametrize(("email", "reader"), [("mia@example.org", False), ("ron@Example.org", True)])
def test_the_role_is_that_of_the_configuration(site: Site, provider: OidcProvider, email: str, reader: bool) -> None:
    provider.user = {"sub": "7", "email": email}
    with site.browser() as client:
        page = client.get("/settings")
        assert email in page.text and is_for_readers(page) == reader


@pytest.mark.parametrize(
    ("user", "status", "words"),
    [
        ({"sub": "8", "email": "eve@elsewhere.example"}, 403, "eve@elsewhere.example may not read this"),
        ({"sub": "8", "email": "guest"}, 403, "may not read this"),
        ({"sub": "8", "email": "mia@example.org", "email_verified": False}, 401, "has not verified"),
        ({"sub": "8"}, 401, ""),
        ({"sub": "8", "email": ["mia@example.org"]}, 503, ""),
    ],
)
def test_whom_the_provider_knows_is_not_yet_a_reader(
    site: Site, provider: OidcProvider, user: dict[str, Any], status: int, words: str
) -> None:
    provider.user = user
    with site.browser() as client:
        page = client.get("/")
        assert page.status_code == status and words in said(page)
        assert outside(client) and "user" not in client.cookies


def test_a_state_that_is_not_of_this_browser_is_refused(site: Site, provider: OidcProvider) -> None:
    with site.browser() as mine, site.browser() as strange:
        answer = callback(mine)
        for wrong in ({**answer, "state": "x"}, {"code": answer["code"]}, {**answer, "state": ""}):
            page = strange.get("/login", params=wrong)
            assert page.status_code == 401 and "state mismatch" in said(page).lower()
        nowhere = strange.get("/login", params={"next": f"/?code={answer['code']}&state="}, follow_redirects=False)
        assert nowhere.status_code in (302, 401) and "user" not in nowhere.cookies
        assert outside(strange) and not [door for door, _ in provider.requests if door == "token"]
        assert mine.get("/login", params=answer).url.path == "/settings"
        again = mine.get("/login", params=answer)
        assert again.status_code == 401, "a state is used up"


def test_an_id_token_that_is_not_for_this_sign_in_is_refused(site: Site, provider: OidcProvider) -> None:
    changes: dict[str, Any] = {
        "Audience": lambda c: c | {"aud": "another client"}, "issuer": lambda c: c | {"iss": "https://evil.example"},
        "expired": lambda c: c | {"exp": c["iat"] - 3600}, "not made for this sign-in": lambda c: c | {"nonce": "old"},
        "another party": lambda c: c | {"azp": "another"}, '"exp"': lambda c: {k: c[k] for k in c if k != "exp"},
    }  # fmt: skip
    for words, change in changes.items():
        provider.change = change
        with site.browser() as client:
            page = client.get("/")
            assert page.status_code == 401 and words.lower() in said(page).lower(), words
            assert outside(client)


def test_an_id_token_that_another_key_signed_is_refused(site: Site, provider: OidcProvider) -> None:
    provider.key = new_key()
    with site.browser() as client:
        page = client.get("/")
        assert page.status_code == 401 and "signature" in said(page).lower() and outside(client)


@pytest.mark.parametrize(
    ("refuse", "status", "words"),
    [
        (JSONResponse({"error": "invalid_client", "error_description": "<b>no</b>"}, 401), 401, "refused: <b>no</b>"),
        (JSONResponse({"error": "server_error"}, 500), 503, "Try again in a minute"),
        (PlainTextResponse("<html>a proxy's page", 502), 503, "Try again in a minute"),
        (PlainTextResponse("nonsense", 200), 503, "Try again in a minute"),
        (JSONResponse({"token_type": "Bearer"}), 401, "refused"),
        (JSONResponse({"access_token": "a.b.c"}), 401, ""),
    ],
)
def test_what_the_provider_says_wrong_is_said_clearly(
    site: Site, provider: OidcProvider, refuse: Any, status: int, words: str
) -> None:
    provider.refuse = refuse
    with site.browser() as client:
        page = client.get("/")
        assert page.status_code == status and words in said(page) and outside(client)


def test_who_says_no_at_the_provider_is_told_so(site: Site, provider: OidcProvider) -> None:
    provider.deny = {"error": "access_denied", "error_description": "You said <no>\r\nSet-Cookie: x"}
    with site.browser() as client:
        page = client.get("/")
        assert page.status_code == 401 and "The provider refused: You said <no>" in said(page)
        assert "<no>" not in page.text and not client.cookies.get("x") and outside(client)
        for forged in ({"error": "call this number"}, {"next": "/?error=call+this+number"}):
            page = client.get("/login", params=forged)
            assert page.status_code == 401 and "State mismatch" in said(page) and "number" not in said(page)


def test_a_provider_that_is_away_is_an_error_in_words(site: Site, away: OidcProvider) -> None:
    with site.browser() as client:
        with away.running():
            answer = callback(client)
        page = client.get("/login", params=answer)
        assert page.status_code == 503 and "Try again in a minute" in said(page) and outside(client)
        with away.running():
            assert client.get("/settings").url.path == "/settings"


def test_a_provider_that_was_never_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pn.config, "oauth_extra_params", {})  # of the process, in Panel
    monkeypatch.setenv("PANEL_OAUTH_PROVIDER", "generic")
    gone = OidcProvider()
    access = access_of(Settings(oidc_issuer=gone.issuer, oidc_client_secret=SecretStr(SECRET)))
    auth = ProviderAuth(access, False, Provider(gone.issuer, CLIENT, "email"))
    with serving(Application([("/login", auth.login_handler)], cookie_secret="k" * 32)) as url:
        page = httpx.get(f"{url}/login", timeout=60)
        assert page.status_code == 503 and f"{gone.issuer} does not answer" in said(page)
        with gone.running():
            assert httpx.get(f"{url}/login", timeout=60).headers["location"].startswith(f"{gone.issuer}/authorize")


@contextlib.contextmanager
def serving(app: Application) -> Iterator[str]:
    """A Tornado application in a thread of its own."""
    port, started = free_port(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        server = app.listen(port, "127.0.0.1")
        loops.append(asyncio.get_running_loop())
        stop.append(asyncio.Event())
        started.set()
        await stop[0].wait()
        server.stop()

    stop: list[asyncio.Event] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loops[0].call_soon_threadsafe(stop[0].set)
        thread.join(10)


def test_panels_own_providers_are_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an issuer: Panel's handler, its user from userinfo; a state that is empty on both sides does not pass."""
    monkeypatch.setattr(pn.config, "oauth_extra_params", {})
    provider = OidcProvider()
    given = {
        "PROVIDER": "generic", "KEY": CLIENT, "SECRET": SECRET, "AUTHORIZE_URL": f"{provider.issuer}/authorize",
        "TOKEN_URL": f"{provider.issuer}/token", "USER_URL": f"{provider.issuer}/userinfo",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"PANEL_OAUTH_{name}", value)
    access = access_of(Settings(dashboard_readers="*@example.org", dashboard_editors="mia@example.org"))
    handlers = [(f"/{kind}", ProviderAuth(access, kind == "https", None).login_handler) for kind in ("login", "https")]
    with serving(Application(handlers, cookie_secret="k" * 32)) as url, provider.running():
        monkeypatch.setenv("PANEL_OAUTH_REDIRECT_URI", f"{url}/login")
        provider.redirects = (f"{url}/login",)
        with httpx.Client(base_url=url, timeout=60) as client:
            forged = client.get("/login", params={"code": "x", "state": ""})
            assert forged.status_code == 401 and "mismatch" in said(forged) and provider.requests == []
            done = client.get("/login", params=callback(client))
            assert (
                done.status_code == 302 and done.headers["location"] == "/settings" and set(client.cookies) == {"user"}
            )
            assert "Secure" in client.get("/https").headers["set-cookie"]
        with httpx.Client(base_url=url, timeout=60) as client:
            provider.user = {"sub": "9", "email": "eve@elsewhere.example"}
            refused = client.get("/login", params=callback(client))
            assert (
                refused.status_code == 403 and "may not read this" in said(refused) and not client.cookies.get("user")
            )

"""The web server of the dashboard: pages, health, reports, and who may open a socket."""

import asyncio
import socket
from urllib.parse import urlsplit

import panel as pn
from bokeh.server.server import Server
from bokeh.server.session import ServerSession
from panel.io.server import DocHandler, per_app_patterns

from forewarn.config.settings import Settings
from forewarn.config.tls import server_certificate
from panel_app.access import Access
from panel_app.pages import data, ledger, models, now, risk, timeline
from panel_app.pages import settings as settings_page
from panel_app.pages.page import Page
from panel_app.rendering import FOLDER
from panel_app.sessions import Session
from panel_app.sign_in import server_options
from panel_app.watcher import Watcher
from panel_app.web import Health, Report

PAGES = (now.PAGE, risk.PAGE, timeline.PAGE, ledger.PAGE, models.PAGE, data.PAGE, settings_page.PAGE)
FIRST_ANSWER_SECONDS = 0.6  # that a page waits for its content; it is sent without where that takes longer
UNUSED_SESSION_MILLISECONDS = 5_000  # how long a closed page is kept; its watching ends then


class FirstAnswer(DocHandler):  # type: ignore[misc]
    """Waits a moment for what the page shows, so that it is sent with its content, and lets others go on meanwhile."""

    watcher: Watcher

    async def get_session(self) -> ServerSession:
        """Called for readers who are signed in."""
        page = next((p for p in PAGES if p.path == self.request.path), None)
        if page is not None:
            await asyncio.to_thread(self._ask, page)
        return await super().get_session()

    def _ask(self, page: Page) -> None:
        arguments = page.chosen(self.request.arguments)
        self.watcher.first(page.key(arguments), page.question(arguments), page.every, FIRST_ANSWER_SECONDS)


def origins(settings: Settings, port: int) -> list[str]:
    """Addresses whose pages may open the websocket: this machine's own and the public one."""
    hosts = {"localhost", "127.0.0.1", settings.bind_host}
    if settings.bind_host in ("0.0.0.0", "::"):
        hosts |= {socket.gethostname(), socket.getfqdn()}
    public = urlsplit(settings.public_url)
    names = {f"{host}:{port}" for host in hosts}
    if public.hostname:
        names.add(f"{public.hostname}:{public.port or (443 if public.scheme == 'https' else 80)}")
    return sorted(names)


def build_server(settings: Settings, watcher: Watcher, access: Access) -> Server:
    """A server that listens on the dashboard's port (0: any free one) and is not started yet.

    Raises OSError where the port is taken, ValueError where the certificate cannot be used.
    """
    pn.config.inline = False
    pages = type("Pages", (FirstAnswer,), {"watcher": watcher})
    per_app_patterns[:] = [
        (p, pages if issubclass(handler, DocHandler) else handler) for p, handler in per_app_patterns
    ]
    port = settings.dashboard_port or _free_port(settings.bind_host)
    return pn.io.server.get_server(
        {page.path: _session(page, watcher, settings, access) for page in PAGES},
        port=port,
        address=settings.bind_host,
        websocket_origin=origins(settings, port),
        start=False,
        show=False,
        title={page.path: page.title for page in PAGES},
        static_dirs={"assets": str(FOLDER / "static")},
        extra_patterns=[
            (r"/healthz", Health, {"watcher": watcher, "strict": False}),
            (r"/readyz", Health, {"watcher": watcher, "strict": True}),
            (r"/reports/([0-9a-fA-F-]{36})", Report, {"settings": settings, "access": access}),
        ],
        unused_session_lifetime_milliseconds=UNUSED_SESSION_MILLISECONDS,
        check_unused_sessions_milliseconds=UNUSED_SESSION_MILLISECONDS,
        keep_alive_milliseconds=15_000,
        **server_options(settings, access),
        **_tls(settings),
    )


def _session(page: Page, watcher: Watcher, settings: Settings, access: Access):  # type: ignore[no-untyped-def]
    def build() -> pn.Template:
        return Session(page, PAGES, watcher, settings, access).template

    return build


def _tls(settings: Settings) -> dict[str, str]:
    certificate = server_certificate(settings)
    return {} if certificate is None else {
        "ssl_certfile": str(certificate.certificate), "ssl_keyfile": str(certificate.key),
    }  # fmt: skip


def _free_port(host: str) -> int:
    with socket.socket() as s:
        s.bind((host, 0))
        return int(s.getsockname()[1])

"""One open page of one reader: puts the watcher's frames into its pieces and charts, and takes answers."""

import threading
from datetime import UTC, datetime
from typing import Any

import panel as pn
import psycopg
import structlog
from markupsafe import Markup
from panel.io.resources import LOCAL_DIST

from forewarn.config.settings import Settings
from forewarn.stores.feedback import VERDICTS, Feedback, PostgresFeedback, new_id
from panel_app import charts
from panel_app.access import EDITOR, Access
from panel_app.live import Live
from panel_app.pages.page import Page
from panel_app.rendering import Frame, asset, environment, render
from panel_app.sign_in import sign_in_of
from panel_app.watcher import Reading, Watcher

logger = structlog.get_logger(__name__)


class Session:
    """Builds the document of a page and keeps it fresh until the reader leaves."""

    def __init__(
        self, page: Page, pages: tuple[Page, ...], watcher: Watcher, settings: Settings, access: Access
    ) -> None:
        self._page, self._watcher, self._settings = page, watcher, settings
        self._document = pn.state.curdoc
        self._document.template_variables["dist_url"] = LOCAL_DIST  # Panel would take its style sheets from elsewhere
        self._arguments = page.chosen(pn.state.session_args)
        self._key = page.key(self._arguments)
        self._access, self._user = access, pn.state.user
        self._author = self._user or "dashboard"
        self._theme = "dark" if pn.state.cookies.get("forewarn_theme") == "dark" else "light"
        reader = access.role_of(self._user) != EDITOR
        names = (*page.sections, "result") if page.act else page.sections
        if access.role_of(self._user) is None:
            raise PermissionError("nobody is signed in")
        self._signed_in = sign_in_of(access)
        self._pieces = {name: Live(on_submit=self._answer, reader=reader, piece=name) for name in names}
        self._status = Live(content=False, piece="status")
        self._charts = page.charts(charts.DARK if self._theme == "dark" else charts.LIGHT)
        self._sources = {n: s for chart in self._charts.values() for n, s in chart.sources.items()}
        self._shown: dict[str, Any] = {}
        self._waiting = threading.Lock()
        self._newest = Reading()
        self._loaded = False
        self._begin()
        self.template = self._template(pages)

    def _begin(self) -> None:
        question = self._page.question(self._arguments)
        known, self._leave = self._watcher.watch(self._key, question, self._page.every, self._told)
        self._show(known)
        pn.state.onload(self._begin_to_listen)
        pn.state.on_session_destroyed(lambda context: self._leave())

    def _begin_to_listen(self) -> None:
        """Only now: what is sent to a document that the browser is still fetching can be lost."""
        self._loaded = True
        self._show(self._watcher.known(self._key))

    def _told(self, reading: Reading) -> None:
        """In the watcher's thread: at most one update waits for a session, however slow its reader is."""
        self._newest = reading
        if self._loaded and self._waiting.acquire(blocking=False):
            self._document.add_next_tick_callback(self._show_newest)

    def _show_newest(self) -> None:
        self._waiting.release()
        self._show(self._newest)

    def _show(self, reading: Reading) -> None:
        if not self._signed_in():
            self._sign_out()
            return
        known_at = datetime.fromtimestamp(reading.at, UTC) if reading.answer is not None else None
        self._set_status(render("status.html", problem=reading.problem, known_at=known_at))
        if isinstance(reading.answer, Frame):
            self._show_frame(reading.answer)

    def _sign_out(self) -> None:
        """Empty the page, which stays open in the browser, and send it nothing more."""
        self._leave()
        for piece in self._pieces.values():
            piece.html = ""
        for source in self._sources.values():
            source.data = {c: [] for c in source.column_names}
        for chart in self._charts.values():
            chart.figure.visible = False
        self._set_status(render("signed_out.html"))

    def _set_status(self, html: str) -> None:
        if self._status.html != html:
            self._status.html = html

    def _show_frame(self, frame: Frame) -> None:
        for name, html in frame.html.items():
            if self._pieces[name].html != html:
                self._pieces[name].html = html
        for chart in self._charts.values():
            if chart.adapt:
                chart.adapt(frame.data)
        for name, columns in frame.data.items():
            if self._shown.get(name) != columns:
                self._shown[name] = columns
                source = self._sources[name]
                source.data = {c: columns.get(c, []) for c in source.column_names}
        for chart in self._charts.values():
            if chart.sources:
                chart.figure.visible = any(len(c) for s in chart.sources.values() for c in s.data.values())

    def _answer(self, action: str, fields: dict[str, str]) -> None:
        if not self._signed_in():
            self._sign_out()
            return
        if self._access.role_of(self._user) != EDITOR:
            logger.warning("a reader may not answer", page=self._page.name, user=self._user)
            self._say("", "You may read this, not answer or change it; ask an editor.")
            return
        if self._page.act is not None and not (self._page.answers and action in VERDICTS):
            threading.Thread(target=self._act, args=(action, fields), daemon=True).start()
            return
        note = ": ".join(t for t in (fields.get("reason", "").strip(), fields.get("note", "").strip()) if t)
        threading.Thread(target=self._store_answer, args=(action, note), daemon=True).start()

    def _act(self, action: str, fields: dict[str, str]) -> None:
        assert self._page.act is not None
        author = self._user or fields.get("author", "").strip()[:100] or "dashboard"
        try:
            said, kind = self._page.act(self._settings, author, action, fields), "good"
        except ValueError as error:
            said, kind = str(error), ""
        except psycopg.Error as error:
            logger.warning("an action could not be stored", error=str(error).strip())
            said, kind = "The database does not take it; please try again in a moment.", ""
        logger.info("action", action=action, page=self._page.name, author=author, done=kind == "good")
        self._document.add_next_tick_callback(lambda: self._say(kind, said))
        self._watcher.ask_now(self._key)

    def _say(self, kind: str, text: str) -> None:
        html = render("notice.html", kind=kind, text=text)
        if "result" in self._pieces:
            self._pieces["result"].html = html
        else:
            self._set_status(html)

    def _store_answer(self, verdict: str, note: str) -> None:
        where = (self._arguments.get("incident"), self._arguments.get("episode"))
        try:
            self._add(Feedback(new_id(), *where, verdict, note, self._author))
        except (psycopg.Error, ValueError) as error:
            logger.warning("an answer could not be stored", error=str(error).strip())
            text = "Your answer could not be stored; the database does not take it. Please try again in a moment."
            self._document.add_next_tick_callback(lambda: self._set_status(render("notice.html", kind="", text=text)))
            return
        logger.info("answer stored", verdict=verdict, page=self._key, author=self._author)
        self._watcher.ask_now(self._key)

    def _add(self, feedback: Feedback) -> None:
        with psycopg.connect(self._settings.postgres_url.get_secret_value(), connect_timeout=3) as connection:
            PostgresFeedback(connection).add(feedback)

    def _state(self) -> str:
        """Classes of the page that is sent; live.js sets the same when there is more."""
        answered = [piece.html for piece in self._pieces.values() if piece.html.strip()]
        state = {
            "heard": bool(answered or self._status.html.strip()),
            "answered": bool(answered),
            "nothing": any("data-nothing" in html for html in answered),
        }
        return " ".join(name for name, holds in state.items() if holds)

    def _place(self, name: str, root: str) -> Markup:
        """Where a piece or a chart comes: what is known of it already, or room for it."""
        live = self._status if name == "status" else self._pieces.get(name)
        if live is not None:
            kind = "live reader" if live.reader else "live"
            return Markup('<div class="{}" data-piece="{}">{}</div>{}').format(
                kind, name, Markup(live.html), Markup(root)
            )
        figure = self._charts[name].figure
        room = figure.height if figure.visible else 0
        return Markup('<div style="min-height:{}px">{}</div>').format(room, Markup(root))

    def _template(self, pages: tuple[Page, ...]) -> pn.Template:
        template = pn.Template(environment.get_template(f"page_{self._page.name}.html"))
        host = self._document.session_context.request.headers.get("Host", "127.0.0.1").rsplit(":", 1)[0]
        variables = {
            "name": self._page.name,
            "title": self._page.title,
            "pages": [p for p in pages if p.name != "risk"],
            "theme": self._theme,
            "other_theme": "light" if self._theme == "dark" else "dark",
            "html_attrs": f'data-theme="{self._theme}" class="{self._state()}"',
            "place": self._place,
            "css": asset("forewarn.css"),
            "user": self._user if self._access.on else "",
            "script": asset("elements.js"),
            "dagster": f"http://{host}:{self._settings.dagster_port}",
            "predictor": f"http://{host}:{self._settings.predictor_port}",
        }
        for name, value in variables.items():
            template.add_variable(name, value)
        template.add_panel("status", self._status)
        for name, piece in self._pieces.items():
            template.add_panel(name, piece)
        for name, chart in self._charts.items():
            template.add_panel(name, pn.pane.Bokeh(chart.figure, sizing_mode="stretch_width"))
        return template

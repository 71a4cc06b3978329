"""An open page of somebody who may not see it any more is emptied, and nothing more is sent to it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import panel as pn
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from tornado.web import create_signed_value

from forewarn.config.settings import Settings
from panel_app.access import Access, User
from panel_app.charts import Chart, Palette
from panel_app.pages.page import Page
from panel_app.rendering import Frame
from panel_app.sessions import Session
from panel_app.watcher import Reading

KEY = "a key"


class Watcher:
    """Says what the test says."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Reading], None]] = []

    def watch(self, key: str, produce: Any, every: float, told: Callable[[Reading], None]) -> tuple[Reading, Any]:
        self.listeners.append(told)
        return Reading(), self.listeners.clear


def charts(palette: Palette) -> dict[str, Chart]:
    return {"curve": Chart(figure(), {"load": ColumnDataSource({"x": []})})}


def frame(text: str) -> Reading:
    return Reading(Frame({"list": text}, {"load": {"x": [1.0]}}), None, 1.0)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(True, tmp_path / "no file: the users below", _users={"ron": User("ron", "reader", "")})


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What Panel knows of the request of a reader who is signed in."""
    cookies = {"user": create_signed_value(KEY, "user", "ron").decode()}
    told = SimpleNamespace(
        curdoc=Document(), session_args={}, user="ron", cookies=cookies,
        onload=lambda callback: None, on_session_destroyed=lambda callback: None,
    )  # fmt: skip
    monkeypatch.setattr(pn, "state", told)
    monkeypatch.setattr(pn, "config", SimpleNamespace(cookie_secret=KEY, oauth_expiry=1))
    monkeypatch.setattr(Session, "_template", lambda self, pages: None)
    return told


def opened(watcher: Watcher, access: Access) -> Session:
    page = Page("now", "/", "Now", ("list",), lambda connection, arguments: Frame({}), 1.0, charts)
    settings = Settings(_env_file=None)
    return Session(page, (page,), watcher, settings, access)  # type: ignore[arg-type]


def shown(session: Session) -> tuple[str, list[float], bool]:
    return session._pieces["list"].html, list(session._sources["load"].data["x"]), "signed out" in session._status.html


def test_who_is_taken_out_of_the_file_sees_an_open_page_no_more(state: SimpleNamespace, access: Access) -> None:
    watcher = Watcher()
    session = opened(watcher, access)
    session._show(frame("secret"))
    assert shown(session) == ("secret", [1.0], False)
    access._users.clear()
    session._show(frame("more"))
    assert shown(session) == ("", [], True)
    assert not session._charts["curve"].figure.visible
    assert watcher.listeners == []


def test_who_has_been_taken_out_and_answers_is_signed_out(state: SimpleNamespace, access: Access) -> None:
    session = opened(Watcher(), access)
    session._show(frame("secret"))
    access._users.clear()
    session._answer("confirmed", {})
    assert shown(session) == ("", [], True)


def test_an_open_page_does_not_outlive_its_sign_in(state: SimpleNamespace, access: Access) -> None:
    long_ago = create_signed_value(KEY, "user", "ron", clock=lambda: 1_700_000_000.0)
    state.cookies["user"] = long_ago.decode()
    session = opened(Watcher(), access)
    session._show(frame("secret"))
    assert shown(session) == ("", [], True)


def test_without_sign_in_everybody_sees_it(state: SimpleNamespace) -> None:
    state.user, state.cookies = None, {}
    session = opened(Watcher(), Access())
    session._show(frame("open"))
    assert shown(session) == ("open", [1.0], False)

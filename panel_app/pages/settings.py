"""Settings: silences, maintenance windows, routes and channels with a test, and the budget of false alarms."""

from functools import cache
from typing import Any

import psycopg

from forewarn.alerting.matching import describe
from forewarn.config.settings import Settings
from forewarn.risk.catalogue import catalogue
from forewarn.stores.views.settings import SettingsView, settings_view
from panel_app.alerting_file import AlertingFile, alerting_file
from panel_app.pages.models import budget_of
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render
from panel_app.settings_actions import act

SECTIONS = ("silences", "channels", "routes", "windows", "budget")
DURATIONS = {"30m": "30 min", "2h": "2 h", "8h": "8 h", "1d": "1 d", "7d": "7 d", "30d": "30 d"}


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores and the alerting file."""
    settings = _settings()
    return frame(settings_view(connection), alerting_file(settings), settings.false_alarm_budget)


@cache
def _settings() -> Settings:
    return Settings()


def frame(view: SettingsView, file: AlertingFile, said: str) -> Frame:
    """The page as HTML. said: the budget of false alarms in words."""
    budget = budget_of(said)
    variables = {
        "view": view,
        "file": file,
        "said": said,
        "per_week": budget.per_entity_week if budget else None,
        "durations": DURATIONS,
        "modes": sorted({m.mode for m in catalogue()}),
        "describe": describe,
        "use": {u.channel: u for u in view.channels},
    }
    return Frame({name: render(f"settings_{name}.html", **variables) for name in SECTIONS})


PAGE = Page("settings", "/settings", "Settings", SECTIONS, produce, every=2.0, act=act)

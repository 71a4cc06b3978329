"""Settings: silences, maintenance windows, routes and channels with a test, and the budget of false alarms."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg

from forewarn.alerting.matching import describe
from forewarn.config.settings import Settings
from forewarn.risk.catalogue import catalogue
from forewarn.stores.responses import PostgresResponses, StoredResponse
from forewarn.stores.views.settings import SettingsView, settings_view
from panel_app.alerting_file import AlertingFile, alerting_file
from panel_app.pages.models import budget_of
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render
from panel_app.settings_actions import act

SECTIONS = ("headline", "responses", "silences", "channels", "routes", "windows", "budget")
LISTED = 50  # responses
STATE_WORDS = {
    "proposed": "waits for an approval", "approved": "approved", "declined": "declined", "expired": "not done in time",
    "superseded": "replaced: the file has changed", "running": "runs", "succeeded": "done", "failed": "failed",
    "unknown": "unknown whether done", "dry_run": "dry run",
}  # fmt: skip
DURATIONS = {"30m": "30 min", "2h": "2 h", "8h": "8 h", "1d": "1 d", "7d": "7 d", "30d": "30 d"}


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores and the alerting file."""
    settings = settings_here()
    responses = PostgresResponses(connection).newest(LISTED)
    return frame(settings_view(connection), alerting_file(settings), settings.false_alarm_budget, responses)


@cache
def settings_here() -> Settings:
    """Those of this process."""
    return Settings()


def frame(view: SettingsView, file: AlertingFile, said: str, responses: Sequence[StoredResponse] = ()) -> Frame:
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
        "responses": [{"row": row, "words": STATE_WORDS[row.status]} for row in responses],
        "waiting": [row for row in responses if row.status == "proposed"],
        "use": {u.channel: u for u in view.channels},
    }
    return Frame({name: render(f"settings_{name}.html", **variables) for name in SECTIONS})


PAGE = Page("settings", "/settings", "Settings", SECTIONS, produce, every=2.0, act=act)

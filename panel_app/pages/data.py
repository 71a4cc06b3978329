"""Data: what runs and how fast, what stopped arriving, where nothing is said, which decisions were made."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.stores.views import DataView, data_view
from forewarn.stores.views.data import ServiceStatus
from panel_app import words
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

SECTIONS = ("services", "entities", "gaps", "abstentions", "decisions")
STALE_SECONDS = 30.0
WORRYING = ("dead_letters_total", "rejected_total", "errors_total", "failed_total", "late_total", "dropped_total")


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of a process; `rate` per second where it is known."""

    name: str
    text: str
    rate: str
    worrying: bool


class Rates:
    """Remembers the last counters of each process and tells how fast they grow."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[datetime, dict[str, float]]] = {}
        self._rates: dict[tuple[str, str], dict[str, float]] = {}

    def of(self, status: ServiceStatus) -> dict[str, float]:
        """Growth per second of each `*_total` since the report before; {} at the first."""
        key = (status.service, status.instance)
        now = {k: float(v) for k, v in status.counters.items() if k.endswith("_total") and isinstance(v, int | float)}
        seen_at, before = self._last.get(key, (status.seen_at, {}))
        seconds = (status.seen_at - seen_at).total_seconds()
        if seconds > 0:
            self._rates[key] = {k: (v - before[k]) / seconds for k, v in now.items() if v >= before.get(k, v + 1)}
        if seconds > 0 or key not in self._last:
            self._last[key] = (status.seen_at, now)
        return self._rates.get(key, {})


_rates = Rates()


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    view = data_view(connection)
    return frame(view, {(s.service, s.instance): _rates.of(s) for s in view.services})


def frame(view: DataView, rates: dict[tuple[str, str], dict[str, float]]) -> Frame:
    """The page as HTML."""
    variables = {
        "view": view,
        "counters": {
            (s.service, s.instance): counters(s, rates.get((s.service, s.instance), {})) for s in view.services
        },
        "stale": STALE_SECONDS,
        "largest": max((e.series for e in view.entities), default=1),
    }
    return Frame({name: render(f"data_{name}.html", **variables) for name in SECTIONS})


def counters(status: ServiceStatus, rates: dict[str, float]) -> list[Counter]:
    """The counters of a process as text."""
    found = []
    for name, value in sorted(status.counters.items()):
        rate = f"{words.count(rates[name])}/s" if name in rates else ""
        number = isinstance(value, int | float)
        text = (
            words.duration(value)
            if name.endswith("_seconds") and number
            else words.count(value)
            if number
            else str(value)
        )
        found.append(Counter(name, text, rate, name in WORRYING and bool(value)))
    return found


PAGE = Page("data", "/data", "Data", SECTIONS, produce, every=2.0)

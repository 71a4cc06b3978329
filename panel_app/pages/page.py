"""What every page is: a question to PostgreSQL that becomes a frame, and places for the frame's pieces."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import psycopg

from forewarn.config.settings import Settings
from panel_app.charts import Chart, Palette
from panel_app.rendering import Frame

Arguments = Mapping[str, str]


def no_charts(palette: Palette) -> dict[str, Chart]:
    """For pages without charts."""
    return {}


@dataclass(frozen=True, slots=True)
class Page:
    """A page at `/path`. `produce` runs in the watcher's thread, once for all who look at the same thing."""

    name: str
    path: str
    title: str
    sections: tuple[str, ...]  # names of the Live pieces in the template
    produce: Callable[[psycopg.Connection[Any], Arguments], Frame]
    every: float  # seconds between two questions
    charts: Callable[[Palette], dict[str, Chart]] = no_charts
    act: Callable[[Settings, str, str, Mapping[str, str]], str] | None = None  # an editor's action; what was done
    answers: bool = False  # takes verdicts on what is shown, beside `act`
    arguments: tuple[str, ...] = ()  # query parameters that choose what is shown; each is a UUID
    choices: Callable[[Mapping[str, list[bytes]]], dict[str, str]] | None = None  # reads others; must check them

    def key(self, arguments: Arguments) -> str:
        """Names the question: the same for all sessions that show the same."""
        return f"{self.name}?{urlencode(sorted(arguments.items()))}"

    def question(self, arguments: Arguments) -> Callable[[psycopg.Connection[Any]], Frame]:
        """What the watcher asks of PostgreSQL."""
        return lambda connection: self.produce(connection, arguments)

    def chosen(self, query: Mapping[str, list[bytes]]) -> dict[str, str]:
        """The valid arguments of a query string; what is no UUID is left out."""
        found = self.choices(query) if self.choices else {}
        for name in self.arguments:
            for raw in query.get(name, [])[:1]:
                try:
                    found[name] = str(uuid.UUID(raw.decode("ascii")))
                except ValueError:
                    continue
        return found

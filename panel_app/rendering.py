"""Templates of the page pieces, always autoescaped, and the frame that a page is at one moment."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from forewarn.risk import quantities
from panel_app import words

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page shows at one moment: HTML by section, chart columns by source. Equal frames look the same."""

    html: dict[str, str]
    data: dict[str, dict[str, list[Any]]] = field(default_factory=dict)


environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters.update(
    duration=words.duration,
    percent=words.percent,
    value=quantities.format_value,
    quantity=words.count,
    words=words.title,
    short=words.short,
    iso=words.iso,
    plural=words.plural,
)
environment.globals["interval"] = words.interval


def render(name: str, **variables: Any) -> str:
    """A template of `templates/` as HTML; every variable is escaped."""
    return environment.get_template(name).render(variables)


_LIBRARY = re.compile(r'<script type="text/javascript" src="([^"]+)"></script>')
_UNUSED = ("js/bokeh-gl.min.js",)  # charts are drawn without WebGL


def later(scripts: str) -> markupsafe.Markup:
    """Scripts of Bokeh and Panel as static/elements.js runs them after the first paint; it is they that take long."""

    def library(found: re.Match[str]) -> str:
        source = found[1]
        if any(name in source for name in _UNUSED):
            return ""
        return (
            f'<link rel="preload" as="script" href="{source}"><script type="text/later" data-src="{source}"></script>'
        )

    changed = _LIBRARY.sub(library, scripts)
    changed = re.sub(r'<script(?: type="text/javascript")?>', '<script type="text/later">', changed)
    return markupsafe.Markup(changed)


environment.filters["later"] = later


@cache
def asset(name: str) -> str:
    """The text of a style sheet or script of `static/`."""
    return (FOLDER / "static" / name).read_text(encoding="utf-8")

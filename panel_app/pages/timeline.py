"""Timeline: what happened to each entity and when, zoomable; the address says what is shown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
from bokeh.models import BoxZoomTool, FactorRange, Range1d, TapTool, WheelPanTool, WheelZoomTool

from forewarn.stores.views import TimelineView, timeline_view
from forewarn.stores.views.timeline import KINDS, SPANS, Happening, Wanted
from panel_app import charts
from panel_app.charts import Chart, Palette
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

SECTIONS = ("filters", "list")
LISTED = 200
ROWS, ROW_HEIGHT = 30, 44  # entities in the picture; of more, those to which most happened
DEFAULT_SPAN = "7d"
# A kind is told by its shape as well as by its colour.
MARKERS = {
    "failure": "x", "incident": "square", "prediction": "diamond", "anomaly": "triangle", "deploy": "inverted_triangle",
    "response": "star", "abstention": "circle_dot",
}  # fmt: skip
NAMES = {
    "failure": "failures", "incident": "incidents", "prediction": "predictions", "anomaly": "anomalies",
    "deploy": "deploys", "response": "responses", "abstention": "not judged",
}  # fmt: skip
_LANES = {kind: 0.3 - 0.1 * i for i, kind in enumerate(KINDS)}  # beside each other within an entity's row
_COLUMNS = ("x", "end", "y", "entity", "text", "state", "url")


def choices(query: Mapping[str, list[bytes]]) -> dict[str, str]:
    """Filters of an address; what is not understood is left out."""
    found: dict[str, str] = {}
    for name in ("namespace", "entity"):
        given = _text(query, name)
        if given and len(given) <= 300:
            found[name] = given
    kinds = [raw.decode("ascii", "ignore") for raw in query.get("kind", [])]
    wanted = [k for k in KINDS if k in kinds]
    if wanted and len(wanted) < len(KINDS):
        found["kinds"] = ",".join(wanted)
    if (span := _text(query, "span")) in SPANS:
        found["span"] = span
    if (until := _moment(_text(query, "until"))) is not None:
        found["until"] = until.isoformat()
    return found


def _text(query: Mapping[str, list[bytes]], name: str) -> str:
    return query.get(name, [b""])[0].decode("utf-8", "replace").replace("\0", "").strip()


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def wanted_of(arguments: Arguments) -> Wanted:
    """What the checked filters ask for."""
    kinds = tuple(arguments["kinds"].split(",")) if "kinds" in arguments else KINDS
    until = datetime.fromisoformat(arguments["until"]) if "until" in arguments else None
    span = timedelta(hours=SPANS[arguments.get("span", DEFAULT_SPAN)])
    return Wanted(arguments.get("namespace", ""), arguments.get("entity", ""), kinds, span, until)


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    return frame(timeline_view(connection, wanted_of(arguments)), arguments)


def frame(view: TimelineView, arguments: Arguments) -> Frame:
    """The page as HTML and chart columns."""
    wanted = wanted_of(arguments)
    shown = shown_entities(view.happenings)
    variables = {
        "view": view,
        "wanted": wanted,
        "span": arguments.get("span", DEFAULT_SPAN),
        "spans": SPANS,
        "kinds": {kind: (NAMES[kind], sum(h.kind == kind for h in view.happenings)) for kind in KINDS},
        "earlier": address(arguments, until=view.start),
        "later": address(arguments, until=view.end + wanted.span) if wanted.until else "",
        "listed": [(h, link(h)) for h in view.happenings[:LISTED]],
        "left_out": len({h.entity for h in view.happenings}) - len(shown),
        "filtered": bool(wanted.namespace or wanted.entity or "kinds" in arguments or wanted.until),
    }
    html = {name: render(f"timeline_{name}.html", **variables) for name in SECTIONS}
    return Frame(html, columns(view, shown))


def address(arguments: Arguments, until: datetime) -> str:
    """This page with the same filters at another time."""
    pairs = [(k, v) for k, v in arguments.items() if k not in ("until", "kinds")]
    pairs += [("kind", k) for k in arguments.get("kinds", "").split(",") if k]
    return "timeline?" + urlencode([*pairs, ("until", until.astimezone(UTC).isoformat(timespec="seconds"))])


def link(h: Happening) -> str:
    """The risk that belongs to it; '' where there is none."""
    if h.episode:
        return f"risk?episode={h.episode}"
    return f"risk?incident={h.incident_id}" if h.incident_id else ""


def shown_entities(happenings: Sequence[Happening]) -> list[str]:
    """The rows of the picture, in alphabetical order from above."""
    counts: dict[str, int] = {}
    for h in happenings:
        counts[h.entity] = counts.get(h.entity, 0) + (1 if h.kind == "abstention" else 1000)  # silence is common
    return sorted(sorted(counts, key=lambda e: (-counts[e], e))[:ROWS], reverse=True)


def columns(view: TimelineView, shown: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Marks by kind. Times are milliseconds since 1970; `end` is `x` for a moment."""
    known, end = set(shown), view.end
    data: dict[str, dict[str, list[Any]]] = {kind: {c: [] for c in _COLUMNS} for kind in KINDS}
    for h in view.happenings:
        if h.entity not in known:
            continue
        lasts = h.kind in ("failure", "anomaly", "abstention") or (
            h.kind == "incident" and h.state in ("predicted", "firing")
        )
        until = h.until or (end if lasts else h.at)
        values = (max(h.at, view.start), min(max(until, h.at), end), (h.entity, _LANES[h.kind]))
        row = (
            values[0].timestamp() * 1000,
            values[1].timestamp() * 1000,
            values[2],
            h.entity,
            h.text,
            h.state,
            link(h),
        )
        for name, value in zip(_COLUMNS, row, strict=True):
            data[h.kind][name].append(value)
    data["frame"] = {"start": [view.start.timestamp() * 1000], "end": [end.timestamp() * 1000], "rows": [list(shown)]}
    return data if view.happenings else {name: {} for name in data}


class Follower:
    """Gives the picture its rows and its span of time; a reader who has zoomed keeps the view."""

    def __init__(self, figure: Any) -> None:
        self._figure, self._set, self._span = figure, (0.0, 1.0), (0.0, 0.0)

    def adapt(self, data: Mapping[str, dict[str, list[Any]]]) -> None:
        """Take what the columns of `frame` say."""
        found, fig = data.get("frame", {}), self._figure
        if not found.get("start"):
            return
        span, rows = (found["start"][0], found["end"][0]), found["rows"][0]
        if fig.y_range.factors != rows:
            fig.y_range.factors, fig.height = rows, max(170, 90 + ROW_HEIGHT * len(rows))
        if span != self._span and (fig.x_range.start, fig.x_range.end) == self._set:
            self._span = span
            margin = 0.015 * (span[1] - span[0])  # marks at the ends are whole
            self._set = (span[0] - margin, span[1] + margin)
            fig.x_range.update(start=self._set[0], end=self._set[1], reset_start=self._set[0], reset_end=self._set[1])


def build_charts(palette: Palette) -> dict[str, Chart]:
    """One row an entity, one lane a kind; wheel and drag zoom the time, a tap opens the risk."""
    fig = charts.plain_figure(
        palette, 420, times=True, x_axis_type="datetime", y_range=FactorRange(), x_range=Range1d(0, 1)
    )
    colours = dict(
        zip(
            KINDS,
            (
                palette.bad, palette.late, palette.accent, palette.good, palette.text, palette.accent, palette.muted,
            ),
            strict=True,
        )
    )  # fmt: skip
    sources = {kind: charts.empty_source(*_COLUMNS) for kind in KINDS}
    marks = []
    for kind in KINDS:
        fig.segment("x", "y", "end", "y", source=sources[kind], line_color=colours[kind], line_width=4, line_alpha=0.4)
        marks.append(
            fig.scatter(
                "x",
                "y",
                source=sources[kind],
                marker=MARKERS[kind],
                size=11,
                fill_color=colours[kind],
                line_color=colours[kind],
                line_width=2.5 if kind == "failure" else 1,
                fill_alpha=0.75,
                nonselection_alpha=1,
                legend_label=NAMES[kind],
            )
        )
    sources["frame"] = charts.empty_source("start", "end", "rows")
    zoom = WheelZoomTool(dimensions="width", modifiers={"ctrl": True})
    fig.add_tools(zoom, WheelPanTool(dimension="width", modifiers={"shift": True}))
    fig.add_tools(TapTool(renderers=marks, callback=charts.open_link()))
    hover = [("", "@entity"), ("", "@text"), ("", "@state"), ("from", "@x{custom}"), ("until", "@end{custom}")]
    fig.add_tools(charts.time_hover(hover, marks, "x", "end"))
    fig.toolbar.active_drag = fig.select_one(BoxZoomTool)
    fig.toolbar.logo, fig.toolbar_location = None, "right"
    charts.legend_above(fig, palette)
    fig.legend.ncols = 4
    return {"picture": Chart(fig, sources, Follower(fig).adapt)}


PAGE = Page("timeline", "/timeline", "Timeline", SECTIONS, produce, every=2.0, charts=build_charts, choices=choices)

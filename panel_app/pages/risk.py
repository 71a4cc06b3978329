"""A risk: the sentence, the picture, the countdown, the causes, the advice, and how it ended."""

import time
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import psycopg
from bokeh.core.properties import value
from bokeh.models import NumeralTickFormatter

from forewarn.incidents.modes import words_of
from forewarn.incidents.records import Incident
from forewarn.incidents.similar import SimilarIncident
from forewarn.risk.quantities import format_time_to_failure, format_value
from forewarn.risk.records import Forecast, Risk
from forewarn.stores.past_incidents import similar_incidents
from forewarn.stores.views import RiskView, incident_about, risk_view
from forewarn.stores.views.risk import Revision
from panel_app import charts, words
from panel_app.charts import Chart, Palette
from panel_app.pages.page import Arguments, Page
from panel_app.pages.risk_extras import SECTIONS as EXTRAS
from panel_app.pages.risk_extras import extras
from panel_app.rendering import Frame, render
from panel_app.risk_actions import act

SECTIONS = ("sentence", "countdown", "picture", "drivers", "actions", "evidence", "revisions", "answers")
SPANS = ("1h", "3h", "6h", "24h", "3d", "7d")
CHANCES = (0.1, 0.5, 0.9)
Columns = dict[str, list[Any]]


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    chosen = (arguments.get("incident"), arguments.get("episode"))
    view = risk_view(connection, *chosen, alike=_alike)
    incident = view.incident if view else incident_about(connection, *chosen)
    made = frame(view) if view else frame_without_risk(incident)
    return Frame(made.html | extras(connection, incident), made.data)


SIMILAR_SECONDS = 30.0  # that past incidents like one are remembered: reading hundreds takes longest of all
_similar: dict[str, tuple[int, float, list[SimilarIncident]]] = {}


def _alike(connection: psycopg.Connection[Any], incident: Incident) -> list[SimilarIncident]:
    """Runs in the watcher's thread only."""
    version, found_at, found = _similar.get(incident.incident_id, (-1, 0.0, []))
    if version == incident.version and time.monotonic() - found_at < SIMILAR_SECONDS:
        return found
    if len(_similar) > 200:
        _similar.clear()
    found = similar_incidents(connection, incident)
    _similar[incident.incident_id] = (incident.version, time.monotonic(), found)
    return found


def frame_without_risk(incident: Incident | None) -> Frame:
    """A failure that nobody predicted, or an address that names nothing."""
    html = dict.fromkeys(SECTIONS, "") | {"sentence": render("risk_unknown.html", incident=incident)}
    return Frame(html, {name: {} for name in _SOURCES})


def frame(view: RiskView) -> Frame:
    """The page as HTML and chart columns."""
    variables = {
        "view": view,
        "risk": view.risk,
        "newest": view.revisions[-1],
        "left": left(view),
        "due": due(view.revisions[-1], view.revisions[-1].p50_seconds),
        "sentence": view.incident.summary_at(view.clock) if view.incident else sentence(view.risk),
        "outcome": outcome(view),
        "bars": waterfall(view.risk),
        "noun": words_of(view.risk.mode, view.risk.signal).noun,
        "evidence": evidence(view.risk),
        "capacity": view.capacity.forecast if view.capacity else None,
        "spans": [s for s in SPANS if view.capacity and s in view.capacity.forecast.within],
        "over": view.incident is not None and view.incident.state not in ("predicted", "firing"),
    }
    return Frame({name: render(f"risk_{name}.html", **variables) for name in SECTIONS}, columns(view))


def left(view: RiskView) -> dict[str, float | None]:
    """Seconds from the event clock until each quantile of the newest prediction; 0 where it has passed."""
    newest = view.revisions[-1]
    gone = ((view.clock or newest.predicted_at) - newest.predicted_at).total_seconds()
    quantiles = {"p10": newest.p10_seconds, "p50": newest.p50_seconds, "p90": newest.p90_seconds}
    return {name: None if q is None else max(0.0, q - gone) for name, q in quantiles.items()}


def due(revision: Revision, seconds: float | None) -> datetime | None:
    """The event time of a quantile."""
    return None if seconds is None else revision.predicted_at + timedelta(seconds=seconds)


def sentence(risk: Risk) -> str:
    """The prediction in one sentence, for a risk that no incident speaks for."""
    limit = format_value(risk.limit, risk.unit, risk.signal)
    when = format_time_to_failure(risk.time_to_failure, risk.probability, risk.horizon_seconds)
    because = ", ".join(d.text for d in risk.drivers[:2])
    said = f"{risk.entity}: {words_of(risk.mode, risk.signal).reaches(limit)} {when}"
    return f"{said}, driven by {because}." if because else f"{said}."


def outcome(view: RiskView) -> str | None:
    """How the first warning ended, as the ledger counts it; None while it is open."""
    first = view.first
    taken_back = any(
        r.state == "withdrawn" and first.failed_at and r.predicted_at <= first.failed_at for r in view.revisions
    )
    return "expired" if taken_back and first.outcome in ("hit", "late") else first.outcome


def waterfall(risk: Risk) -> list[dict[str, Any]]:
    """Drivers as bars that start where the one before ends, in percent of the whole."""
    start, bars = 0.0, []
    for driver in sorted(risk.drivers, key=lambda d: -d.contribution):
        width = min(max(driver.contribution, 0.0), 1.0 - start)
        bars.append({"driver": driver, "start": round(start * 100, 1), "width": round(width * 100, 1)})
        start += width
    return bars


def evidence(risk: Risk) -> list[tuple[str, str]]:
    """Sentences with their queries, '' where there is none."""
    return list(zip_longest(risk.evidence, risk.evidence_queries[: len(risk.evidence)], fillvalue=""))


def forecast_of(view: RiskView) -> tuple[Forecast, datetime]:
    """The fan and the time its seconds count from: that of the newest capacity forecast where it is newer."""
    newer = view.capacity.forecast if view.capacity else None
    if newer is not None and newer.made_at > view.risk.predicted_at and not view.failed_at:
        return newer.fan, newer.made_at
    return view.risk.forecast, view.risk.predicted_at


def columns(view: RiskView) -> dict[str, Columns]:
    """The columns of every chart source. Times are milliseconds since 1970."""
    risk, newest = view.risk, view.revisions[-1]
    f, made_at = forecast_of(view)
    at = _ms(made_at)
    measured = {"x": [_ms(t) for t in view.times], "y": list(view.values)}
    history = {
        "x": [at + s * 1000 for s in f.history_seconds],
        "y": [float("nan") if v is None else v for v in f.history_values],
    }
    hourly = view.capacity is not None and not view.failed_at  # a fan of hourly maxima goes on from hourly maxima
    future = [at + s * 1000 for s in f.future_seconds]
    ends = (min([*measured["x"], *history["x"], at]), max([*future, at + risk.horizon_seconds * 1000]))
    failed = [_ms(view.failed_at)] if view.failed_at else []
    return {
        "history": measured if view.times and not hourly else history,
        "fan": {"x": future, "low": f.p10, "mid": f.p50, "high": f.p90},
        "limit": {"x": list(ends), "y": [risk.limit, risk.limit]},
        "clock": {"x": [_ms(view.clock or risk.predicted_at)]},
        "failed": {"x": failed},
        "chance": _chance(newest, risk.horizon_seconds),
        "quantiles": _quantiles(newest),
        "moves": _moves(view.revisions),
        "truth": {"y": failed},
        "meta": {"unit": ["share" if format_value(1.0, risk.unit, risk.signal) == "100 %" else risk.unit]},
    }


def _ms(at: datetime) -> float:
    return at.timestamp() * 1000


def _chance(revision: Revision, horizon: float) -> Columns:
    """The chance that it has failed by a time: straight between the quantiles that are known."""
    known = [
        (s, c)
        for s, c in zip((revision.p10_seconds, revision.p50_seconds, revision.p90_seconds), CHANCES, strict=True)
        if s is not None
    ]
    points = [(0.0, 0.0), *known]
    if horizon > points[-1][0]:
        points.append((horizon, max(points[-1][1], revision.probability)))
    start = _ms(revision.predicted_at)
    return {"x": [start + s * 1000 for s, _ in points], "y": [c for _, c in points]}


def _quantiles(revision: Revision) -> Columns:
    known = [
        (s, c)
        for s, c in zip((revision.p10_seconds, revision.p50_seconds, revision.p90_seconds), CHANCES, strict=True)
        if s is not None
    ]
    start = _ms(revision.predicted_at)
    return {
        "x": [start + s * 1000 for s, _ in known],
        "y": [c for _, c in known],
        "text": [f"{c * 100:.0f} % after {words.duration(s)}" for s, c in known],
    }


def _moves(revisions: tuple[Revision, ...]) -> Columns:
    told = [r for r in revisions if r.p50_seconds is not None]
    at = [_ms(r.predicted_at) for r in told]
    low = [
        t + (r.p10_seconds if r.p10_seconds is not None else r.p50_seconds or 0) * 1000
        for t, r in zip(at, told, strict=True)
    ]
    high = [
        t + (r.p90_seconds if r.p90_seconds is not None else r.p50_seconds or 0) * 1000
        for t, r in zip(at, told, strict=True)
    ]
    return {
        "x": at,
        "y": [t + (r.p50_seconds or 0) * 1000 for t, r in zip(at, told, strict=True)],
        "low": low,
        "high": high,
    }


_SOURCES = {
    "history": ("x", "y"),
    "fan": ("x", "low", "mid", "high"),
    "limit": ("x", "y"),
    "clock": ("x",),
    "failed": ("x",),
    "chance": ("x", "y"),
    "quantiles": ("x", "y", "text"),
    "moves": ("x", "y", "low", "high"),
    "truth": ("y",),
    "meta": ("unit",),
}


def build_charts(palette: Palette) -> dict[str, Chart]:
    """The fan, the chance of failure under it, and how the predicted time moved."""
    sources = {name: charts.empty_source(*columns) for name, columns in _SOURCES.items()}
    fan = _fan(palette, sources)
    chance = _chance_figure(palette, sources, fan.x_range)
    return {
        "fan": Chart(fan, sources),
        "chance": Chart(chance, {}),
        "moves": Chart(_moves_figure(palette, sources), {}),
    }


def _fan(palette: Palette, sources: dict[str, Any]) -> Any:
    fig = charts.plain_figure(palette, 320, times=True, x_axis_type="datetime")
    legend = {name: name for name in ("80 % interval", "forecast", "measured", "limit")}
    fig.varea("x", "low", "high", source=sources["fan"], fill_color=palette.accent, fill_alpha=0.18,
              legend_label=legend["80 % interval"])  # fmt: skip
    fig.line("x", "mid", source=sources["fan"], line_color=palette.accent, line_width=2, line_dash=[6, 3],
             legend_label=legend["forecast"])  # fmt: skip
    line = fig.line("x", "y", source=sources["history"], line_color=palette.text, line_width=1.6,
                    legend_label=legend["measured"])  # fmt: skip
    limit = fig.line("x", "y", source=sources["limit"], line_color=palette.limit, line_width=2,
                     legend_label=legend["limit"])  # fmt: skip
    _marks(fig, palette, sources)
    # What comes after the limit is of no interest: the view is that of the past and the limit.
    fig.y_range.renderers = [line, limit]
    fig.y_range.range_padding = 0.25
    fig.yaxis.formatter = charts.value_axis(sources["meta"])
    fig.add_tools(charts.time_hover([("at", "@x{custom}"), ("value", "@y{0,0.[00]}")], [line], "x"))
    charts.legend_above(fig, palette)
    return fig


def _marks(fig: Any, palette: Palette, sources: dict[str, Any]) -> None:
    fig.vspan(x="x", source=sources["clock"], line_color=palette.muted, line_dash="dotted", line_width=1.5)
    fig.vspan(x="x", source=sources["failed"], line_color=palette.limit, line_width=2)


def _chance_figure(palette: Palette, sources: dict[str, Any], x_range: Any) -> Any:
    fig = charts.plain_figure(palette, 150, times=True, x_axis_type="datetime", x_range=x_range, y_range=(0, 1.06))
    fig.varea("x", 0, "y", source=sources["chance"], fill_color=palette.accent, fill_alpha=0.14)
    fig.line("x", "y", source=sources["chance"], line_color=palette.accent, line_width=2)
    dots = fig.scatter("x", "y", source=sources["quantiles"], size=8, fill_color=palette.accent, line_color=None)
    fig.text("x", "y", "text", source=sources["quantiles"], x_offset=9, y_offset=14, text_color=palette.text,
             text_font_size="12px", text_font=value("system-ui"))  # fmt: skip
    _marks(fig, palette, sources)
    fig.yaxis.formatter = NumeralTickFormatter(format="0 %")
    fig.yaxis.ticker = [0, 0.5, 1]
    fig.add_tools(charts.time_hover([("by", "@x{custom}"), ("chance", "@y{0 %}")], [dots], "x"))
    return fig


def _moves_figure(palette: Palette, sources: dict[str, Any]) -> Any:
    fig = charts.plain_figure(palette, 200, times=True, x_axis_type="datetime", y_axis_type="datetime")
    fig.segment(
        "x", "low", "x", "high", source=sources["moves"], line_color=palette.accent, line_alpha=0.45, line_width=5
    )
    fig.line("x", "y", source=sources["moves"], line_color=palette.accent, line_width=1)
    dots = fig.scatter("x", "y", source=sources["moves"], size=8, fill_color=palette.accent, line_color=None)
    fig.hspan(y="y", source=sources["truth"], line_color=palette.limit, line_width=2)
    fig.yaxis.formatter = fig.xaxis.formatter
    hover = [
        ("said at", "@x{custom}"),
        ("fails at", "@y{custom}"),
        ("earliest", "@low{custom}"),
        ("latest", "@high{custom}"),
    ]
    fig.add_tools(charts.time_hover(hover, [dots], "x", "y", "low", "high"))
    return fig


PAGE = Page(
    "risk", "/risk", "Risk", (*SECTIONS, *EXTRAS), produce, every=0.5, charts=build_charts,
    arguments=("incident", "episode"), act=act, answers=True,
)  # fmt: skip

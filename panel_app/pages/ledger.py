"""Ledger: every prediction against the truth; misses and false alarms as large as hits."""

from statistics import median
from typing import Any

import numpy as np
import psycopg
from bokeh.core.properties import value
from bokeh.models import HoverTool, NumeralTickFormatter
from bokeh.transform import factor_cmap, factor_mark

from forewarn.stores.views import LedgerView, ledger_view
from panel_app import charts
from panel_app.charts import Chart, Palette
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

SECTIONS = ("summary", "scatter_note", "calibration_note", "lead_note", "table")
LEAD_EDGES = np.array([0, 15, 30, 60, 120, 240, 480, 1e9]) * 60.0
LEAD_LABELS = ["<15 min", "15–30", "30–60", "1–2 h", "2–4 h", "4–8 h", ">8 h"]
BINS = np.array([0, 0.2, 0.4, 0.6, 0.8, 1.0001])
Columns = dict[str, list[Any]]


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    return frame(ledger_view(connection))


def frame(view: LedgerView) -> Frame:
    """The page as HTML and chart columns."""
    leads = [r.lead_seconds for r in view.resolved if r.outcome == "hit" and r.lead_seconds is not None]
    variables = {
        "view": view,
        "record": view.record,
        "failures": view.record.hits + view.record.late + view.record.missed,
        "median_lead": median(leads) if leads else None,
    }
    data = {"scatter": _scatter(view), "diagonal": _diagonal(view), "bins": _bins(view), "leads": _leads(leads)}
    return Frame({name: render(f"ledger_{name}.html", **variables) for name in SECTIONS}, data)


def _scatter(view: LedgerView) -> Columns:
    shown = [r for r in view.resolved if r.lead_seconds is not None and r.p50_seconds is not None]
    hours = 3600.0
    return {
        "x": [(r.p50_seconds or 0) / hours for r in shown],
        "y": [(r.lead_seconds or 0) / hours for r in shown],
        "low": [(r.p10_seconds if r.p10_seconds is not None else r.p50_seconds or 0) / hours for r in shown],
        "high": [(r.p90_seconds if r.p90_seconds is not None else r.p50_seconds or 0) / hours for r in shown],
        "what": [f"{r.entity} {r.mode.replace('_', ' ')}" for r in shown],
        "outcome": [r.outcome for r in shown],
    }


def _diagonal(view: LedgerView) -> Columns:
    points = _scatter(view)
    end = max([*points["x"], *points["y"]], default=0.0)
    return {"x": [0.0, end], "y": [0.0, end]} if end else {"x": [], "y": []}


def _bins(view: LedgerView) -> Columns:
    """Said probability against the share that came true, over first warnings that were put to the test."""
    tested = [r for r in view.resolved if r.outcome in ("hit", "late", "expired")]
    place = np.digitize([r.probability for r in tested], BINS) - 1
    out: Columns = {"x": [], "y": [], "n": [], "size": [], "text": []}
    for b in range(len(BINS) - 1):
        members = [r for r, p in zip(tested, place, strict=True) if p == b]
        if not members:
            continue
        came = sum(r.outcome != "expired" for r in members)
        out["x"].append(float(np.mean([r.probability for r in members])))
        out["y"].append(came / len(members))
        out["n"].append(len(members))
        out["size"].append(8 + 2.2 * len(members) ** 0.5)
        out["text"].append(f"{came} of {len(members)}")
    return out


def _leads(leads: list[float]) -> Columns:
    if not leads:
        return {"x": [], "top": []}
    counts, _ = np.histogram(leads, LEAD_EDGES)
    return {"x": LEAD_LABELS, "top": counts.tolist()}


_MARKERS = {"hit": "circle", "late": "triangle", "averted": "square", "dismissed": "diamond", "expired": "x"}


def build_charts(palette: Palette) -> dict[str, Chart]:
    """Predicted against true time, calibration, lead times."""
    return {"scatter": _scatter_chart(palette), "calibration": _calibration(palette), "leads": _lead_chart(palette)}


def _scatter_chart(palette: Palette) -> Chart:
    source = charts.empty_source("x", "y", "low", "high", "what", "outcome")
    diagonal = charts.empty_source("x", "y")
    fig = charts.plain_figure(palette, 280, x_axis_label="predicted hours to failure", y_axis_label="true hours")
    fig.line("x", "y", source=diagonal, line_color=palette.muted, line_dash="dashed")
    fig.segment("low", "y", "high", "y", source=source, line_color=palette.accent, line_alpha=0.3, line_width=4)
    kinds = list(_MARKERS)
    colours = [palette.good, palette.late, palette.accent, palette.muted, palette.bad]
    dots = fig.scatter(
        "x", "y", source=source, size=10, line_color=None, legend_field="outcome",
        marker=factor_mark("outcome", list(_MARKERS.values()), kinds),
        fill_color=factor_cmap("outcome", colours, kinds),
    )  # fmt: skip
    fig.add_tools(
        HoverTool(renderers=[dots], tooltips=[("", "@what"), ("predicted", "@x{0.0} h"), ("true", "@y{0.0} h")])
    )
    charts.legend_above(fig, palette)
    return Chart(fig, {"scatter": source, "diagonal": diagonal})


def _calibration(palette: Palette) -> Chart:
    source = charts.empty_source("x", "y", "n", "size", "text")
    fig = charts.plain_figure(
        palette, 280, x_range=(0, 1.08), y_range=(-0.04, 1.1), x_axis_label="said probability", y_axis_label="came true"
    )
    fig.line([0, 1], [0, 1], line_color=palette.muted, line_dash="dashed")
    fig.scatter("x", "y", source=source, size="size", fill_color=palette.accent, fill_alpha=0.75, line_color=None)
    fig.text("x", "y", "text", source=source, x_offset=-14, y_offset=26, text_color=palette.text, text_font_size="12px",
             text_font=value("system-ui"), text_align="center")  # fmt: skip
    for axis in (fig.xaxis, fig.yaxis):
        axis.formatter = NumeralTickFormatter(format="0 %")
        axis.ticker = [0, 0.25, 0.5, 0.75, 1]
    return Chart(fig, {"bins": source})


def _lead_chart(palette: Palette) -> Chart:
    source = charts.empty_source("x", "top")
    fig = charts.plain_figure(
        palette, 280, x_range=LEAD_LABELS, x_axis_label="warning before the failure", y_axis_label="hits"
    )
    fig.vbar("x", top="top", width=0.82, source=source, fill_color=palette.good, line_color=None)
    fig.y_range.start = 0
    fig.yaxis.ticker.num_minor_ticks = 0
    fig.yaxis.formatter = NumeralTickFormatter(format="0")
    return Chart(fig, {"leads": source})


PAGE = Page("ledger", "/ledger", "Ledger", SECTIONS, produce, every=3.0, charts=build_charts)

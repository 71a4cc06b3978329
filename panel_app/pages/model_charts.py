"""Charts of the models page: health by minute, and false alarms against their budget."""

from collections.abc import Sequence
from typing import Any

from bokeh.models import NumeralTickFormatter

from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.stores.views.model_life import AlarmLook, HealthPoint
from panel_app import charts
from panel_app.charts import Chart, Palette

Columns = dict[str, list[Any]]
ROLES = ("champion", "shadow")
LINES = {"champion": "solid", "shadow": "dashed"}  # told by the dashes as well as by the colour


def health_columns(points: Sequence[HealthPoint]) -> dict[str, Columns]:
    """Latency in ms and share of alerts by role and minute, and the minutes with errors."""
    found: dict[str, Columns] = {}
    for role in ROLES:
        own = [p for p in points if p.role == role]
        at = [p.minute.timestamp() * 1000 for p in own]
        found[f"latency_{role}"] = {"x": at, "y": [_ms(p) for p in own]}
        found[f"alerts_{role}"] = {"x": at, "y": [p.alerts / p.judged if p.judged else float("nan") for p in own]}
    wrong = [p for p in points if p.errors]
    found["errors"] = {
        "x": [p.minute.timestamp() * 1000 for p in wrong],
        "y": [_ms(p) if p.p99_seconds is not None else 0.0 for p in wrong],
        "n": [p.errors for p in wrong],
        "role": [p.role for p in wrong],
    }
    return found


def _ms(point: HealthPoint) -> float:
    return point.p99_seconds * 1000 if point.p99_seconds is not None else float("nan")


def budget_columns(looks: Sequence[AlarmLook], budget: FalseAlarmBudget) -> Columns:
    """False pages and what was allowed, both added up from the first look shown."""
    false, seconds = 0, 0.0
    columns: Columns = {"x": [], "false": [], "allowed": []}
    for look in looks:
        false, seconds = false + look.false_pages, seconds + look.service_seconds
        columns["x"].append(look.at.timestamp() * 1000)
        columns["false"].append(false)
        columns["allowed"].append(budget.allowed(seconds))
    return columns


def build_charts(palette: Palette) -> dict[str, Chart]:
    """Latency with errors, share of alerts, budget."""
    return {"latency": _latency(palette), "alerts": _alerts(palette), "budget": _budget(palette)}


def _latency(palette: Palette) -> Chart:
    fig = charts.plain_figure(palette, 200, times=True, x_axis_type="datetime", y_axis_label="ms")
    sources = _role_lines(fig, palette, "latency")
    sources["errors"] = charts.empty_source("x", "y", "n", "role")
    marks = fig.scatter("x", "y", source=sources["errors"], marker="x", size=11, line_width=3, line_color=palette.bad,
                        legend_label="errors")  # fmt: skip
    fig.add_tools(charts.time_hover([("at", "@x{custom}"), ("errors", "@n, @role")], [marks], "x"))
    charts.legend_above(fig, palette)
    return Chart(fig, sources)


def _alerts(palette: Palette) -> Chart:
    fig = charts.plain_figure(palette, 200, times=True, x_axis_type="datetime")
    sources = _role_lines(fig, palette, "alerts")
    fig.yaxis.formatter = NumeralTickFormatter(format="0.0 %")
    charts.legend_above(fig, palette)
    return Chart(fig, sources)


def _role_lines(fig: Any, palette: Palette, what: str) -> dict[str, Any]:
    sources = {}
    for role in ROLES:
        source = sources[f"{what}_{role}"] = charts.empty_source("x", "y")
        colour = palette.accent if role == "champion" else palette.late
        fig.line("x", "y", source=source, line_color=colour, line_dash=LINES[role], line_width=1.8, legend_label=role)
    fig.y_range.start = 0
    return sources


def _budget(palette: Palette) -> Chart:
    fig = charts.plain_figure(palette, 200, times=True, x_axis_type="datetime", y_axis_label="pages")
    source = charts.empty_source("x", "false", "allowed")
    fig.line("x", "allowed", source=source, line_color=palette.muted, line_dash="dashed", line_width=1.8,
             legend_label="allowed")  # fmt: skip
    line = fig.step("x", "false", source=source, mode="after", line_color=palette.bad, line_width=2,
                    legend_label="false")  # fmt: skip
    fig.y_range.start = 0
    hover = [("until", "@x{custom}"), ("false", "@false"), ("allowed", "@allowed{0.0}")]
    fig.add_tools(charts.time_hover(hover, [line], "x"))
    charts.legend_above(fig, palette)
    return Chart(fig, {"budget": source})

"""Bokeh charts that look the same everywhere: quiet axes, the reader's time zone, light and dark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS, CustomJSHover, CustomJSTickFormatter, HoverTool
from bokeh.plotting import figure


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a theme; the same as in static/forewarn.css."""

    text: str
    muted: str
    line: str
    accent: str
    limit: str
    good: str
    late: str
    bad: str
    surface: str


LIGHT = Palette("#1b2330", "#5b6675", "#e3e7ec", "#2563b8", "#b93815", "#22806a", "#a86400", "#b93815", "#ffffff")
DARK = Palette("#e6eaf0", "#97a3b3", "#27313d", "#7fb0ff", "#ff8f66", "#5fc2a8", "#f0b24a", "#ff8f66", "#171e27")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure and its sources by the name under which a frame carries their columns."""

    figure: Any
    sources: dict[str, ColumnDataSource]
    adapt: Callable[[Mapping[str, dict[str, list[Any]]]], None] | None = None  # to the columns of a new frame


# Axis values are milliseconds since 1970; only the browser knows the reader's zone.
_TICK = """
const span = Math.max(...ticks) - Math.min(...ticks)
const options = span > 3 * 864e5 ? {month: 'short', day: 'numeric'}
  : span > 20 * 36e5 ? {weekday: 'short', hour: '2-digit', minute: '2-digit'}
  : span < 3e5 ? {hour: '2-digit', minute: '2-digit', second: '2-digit'} : {hour: '2-digit', minute: '2-digit'}
return new Intl.DateTimeFormat(undefined, options).format(tick)
"""
_HOVER = "return new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short'}).format(value)"
_VALUE = """
const unit = meta.data.unit.length ? meta.data.unit[0] : ''
const digits = (v) => Math.abs(v) < 10 && v % 1 ? v.toFixed(1) : v.toFixed(0)
if (unit === 'By') {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let v = tick, i = 0
  while (Math.abs(v) >= 1024 && i < 5) { v /= 1024; i += 1 }
  return digits(v) + ' ' + units[i]
}
if (unit === 'share') return digits(tick * 100) + ' %'
if (unit === 's') return Math.abs(tick) < 1 ? digits(tick * 1000) + ' ms' : digits(tick) + ' s'
return new Intl.NumberFormat(undefined, {notation: Math.abs(tick) >= 1e5 ? 'compact' : 'standard'}).format(tick)
"""


def value_axis(meta: ColumnDataSource) -> CustomJSTickFormatter:
    """Ticks in the UCUM unit that the column `unit` of the source names."""
    return CustomJSTickFormatter(code=_VALUE, args={"meta": meta})


def empty_source(*columns: str) -> ColumnDataSource:
    """A source without rows."""
    return ColumnDataSource({name: [] for name in columns})


def plain_figure(palette: Palette, height: int, times: bool = False, **options: Any) -> Any:
    """A figure of full width without ornament; wheel and drag zoom time charts only."""
    tools = "xpan,xbox_zoom,reset" if times else ""
    fig = figure(height=height, sizing_mode="stretch_width", tools=tools, toolbar_location=None, **options)
    fig.background_fill_color = None
    fig.border_fill_color = palette.surface  # opaque: else what was drawn before the page had its width shines through
    fig.outline_line_color = None
    fig.min_border_left = 56
    for axis in fig.axis:
        axis.axis_line_color = axis.major_tick_line_color = palette.line
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = palette.muted
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = axis.axis_label_text_font_size = "12px"
        axis.major_label_text_font = axis.axis_label_text_font = "system-ui"
    fig.xgrid.grid_line_color = None
    fig.ygrid.grid_line_color = palette.line
    if times:
        fig.xaxis.formatter = CustomJSTickFormatter(code=_TICK)
        fig.xaxis.ticker.desired_num_ticks = 5
    return fig


def time_hover(tooltips: list[tuple[str, str]], renderers: list[Any], *time_columns: str) -> HoverTool:
    """A hover box that shows times in the reader's zone."""
    formatters = {f"@{column}": CustomJSHover(code=_HOVER) for column in time_columns}
    return HoverTool(tooltips=tooltips, formatters=formatters, renderers=renderers)


def legend_above(fig: Any, palette: Palette) -> None:
    """Move the legend out of the picture, above it."""
    legend = fig.legend[0]
    fig.center.remove(legend)
    fig.add_layout(legend, "above")
    legend.orientation = "horizontal"
    legend.background_fill_alpha = legend.border_line_alpha = 0
    legend.label_text_color = palette.muted
    legend.label_text_font_size, legend.label_text_font = "12px", "system-ui"
    legend.padding, legend.spacing, legend.margin = 2, 14, 0
    legend.glyph_height = legend.glyph_width = 14


# Only addresses of this dashboard's own making, and only within it.
_OPEN = """
const at = cb_data.source.selected.indices[0]
if (at === undefined) return
const url = cb_data.source.data.url[at]
cb_data.source.selected.indices = []
if (/^risk\\?(episode|incident)=[0-9a-f-]{36}$/.test(url)) window.location.assign(url)
"""


def open_link() -> CustomJS:
    """Opens the risk that the column `url` of a tapped mark names."""
    return CustomJS(code=_OPEN)

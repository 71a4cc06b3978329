"""Draws the history of a signal and its forecast fan against the limit, as PNG."""

import io
from datetime import datetime
from typing import Any

import numpy as np

from forewarn.risk.quantities import format_duration, format_time_to_failure, format_value
from forewarn.risk.records import Risk

_INK, _HISTORY, _FAN, _LIMIT = "#55606b", "#1b3a57", "#2f7ed8", "#b3261e"
_UNITS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def warm_up() -> None:
    """Load what drawing needs, so that the first alert does not wait a second for it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().set_title("0")
    FigureCanvasAgg(figure).draw()


def alt_text(risk: Risk, failed_at: datetime | None = None) -> str:
    """What the picture shows, for those who do not see it."""
    value, limit = (format_value(v, risk.unit, risk.signal) for v in (risk.value, risk.limit))
    when = format_time_to_failure(risk.time_to_failure, risk.probability, risk.horizon_seconds)
    lead = format_duration((failed_at - risk.predicted_at).total_seconds()) if failed_at is not None else ""
    end = f"; it failed after {lead}" if lead else ""
    span = -min(risk.forecast.history_seconds, default=0.0)
    past = f"its last {format_duration(span)}, " if span > 0 else ""
    return f"{risk.signal} of {risk.entity}: {past}then {value}; the forecast reaches the limit of {limit} {when}{end}."


def draw_forecast(risk: Risk, failed_at: datetime | None = None, width: float = 5.8, dpi: int = 130) -> bytes | None:
    """PNG of width x 0.42 width inches; None where the risk carries neither history nor forecast.

    failed_at: marks when the failure really came.
    """
    forecast = risk.forecast
    if not forecast.history_seconds and not forecast.future_seconds:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, width * 0.42), dpi=dpi)
    axes = figure.add_axes((0.105, 0.175, 0.885, 0.8))  # a layout engine would double the time to draw
    scale, unit = _time_unit(risk)
    _draw_series(axes, risk, scale)
    _draw_limit(axes, risk)
    axes.axvline(0, color=_INK, linewidth=0.8, alpha=0.5)
    if failed_at is not None:
        _draw_failure(axes, (failed_at - risk.predicted_at).total_seconds() / scale, risk)
    _dress(axes, risk, unit)
    target = io.BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    return target.getvalue()


def _draw_series(axes: Any, risk: Risk, scale: float) -> None:
    forecast = risk.forecast
    past = np.asarray(forecast.history_seconds, float) / scale
    values = np.array([np.nan if v is None else v for v in forecast.history_values], float)
    future = np.asarray(forecast.future_seconds, float) / scale
    axes.plot(past, values, color=_HISTORY, linewidth=1.6)
    if len(future):
        axes.fill_between(future, forecast.p10, forecast.p90, color=_FAN, alpha=0.22, linewidth=0)
        axes.plot(future, forecast.p50, color=_FAN, linewidth=1.6, linestyle=(0, (5, 2)))


def _draw_limit(axes: Any, risk: Risk) -> None:
    axes.axhline(risk.limit, color=_LIMIT, linewidth=1.2)
    label = f"limit {format_value(risk.limit, risk.unit, risk.signal)}"
    axes.annotate(
        label, (0.01, risk.limit), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
        color=_LIMIT, fontsize=8, parse_math=False,
    )  # fmt: skip


def _draw_failure(axes: Any, x: float, risk: Risk) -> None:
    axes.plot([x], [risk.limit], marker="X", color=_LIMIT, markersize=9, markeredgecolor="white", zorder=5)
    axes.annotate("failed", (x, risk.limit), xytext=(0, -14), textcoords="offset points", ha="center",
                  color=_LIMIT, fontsize=8)  # fmt: skip


def _dress(axes: Any, risk: Risk, unit: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c3cad1")
    axes.tick_params(colors=_INK, labelsize=8, length=3)
    axes.yaxis.set_major_formatter(lambda y, _: format_value(float(y), risk.unit, risk.signal))
    axes.set_xlabel(f"{unit} from the prediction ({risk.predicted_at:%Y-%m-%d %H:%M} UTC)", color=_INK, fontsize=8)
    axes.margins(x=0.01)
    low, high = axes.get_ylim()
    top = max(risk.limit + (risk.limit - min(low, risk.limit)) * 0.15, risk.value)
    axes.set_ylim(
        low if low < 0 or low > 0.3 * risk.limit else 0, min(high, top + abs(top) * 0.2) if high > top else top
    )
    if risk.unit == "By":
        axes.yaxis.set_ticks(_binary_ticks(*axes.get_ylim()))
    axes.grid(axis="y", color="#e6eaee", linewidth=0.6)


def _binary_ticks(low: float, high: float) -> list[float]:
    """About five round numbers of KiB, MiB, GiB … between two sizes in bytes."""
    unit = 1024.0 ** int(np.log(max(high, 1.0)) / np.log(1024))
    rough = (high - low) / unit / 5
    power = 10.0 ** np.floor(np.log10(max(rough, 1e-9)))
    step = next(n for n in (1, 2, 5, 10) if n * power >= rough) * power * unit
    return [float(t) for t in np.arange(np.ceil(low / step) * step, high, step)]


def _time_unit(risk: Risk) -> tuple[float, str]:
    seconds = [*risk.forecast.history_seconds, *risk.forecast.future_seconds]
    span = max(seconds) - min(seconds)
    return next(((size, name) for size, name in _UNITS if span >= 2 * size), _UNITS[-1])

"""Numbers as people read them: durations, sizes, shares and the time to a failure with its interval."""

import math
from datetime import UTC, datetime

from forewarn.risk.records import TimeToFailure

_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_RATIO_WORDS = ("ratio", "utilization")
_BYTE_WORDS = (
    "filesystem.usage",
    "memory.usage",
    "memory.rss",
    "_bytes",
)  # without a unit, they are in bytes all the same


def format_number(value: float) -> str:
    """Three significant digits, whole numbers in full, thousands parted by a thin space: `1 240`, `0.031`."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "unlimited"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{float(f'{value:.3g}'):g}"


def format_duration(seconds: float, like: float | None = None) -> str:
    """`45 s`, `38 min`, `2.1 h`, `3.2 d`; in the unit that suits `like` seconds, where that is not too coarse."""
    size, unit = _span_of(seconds if like is None else like)
    if abs(seconds) < 0.1 * size:
        size, unit = _span_of(seconds)
    return f"{_two_digits(seconds / size)} {unit}"


def format_interval(low: float | None, high: float | None) -> str:
    """`1.4–3.3 h`; an end that is None lies beyond what can be said: `1.4 h or later`, `later or never`."""
    if low is None:
        return "later or never"
    if high is None:
        return f"{format_duration(low)} or later"
    size, unit = _span_of(high)
    if low / size < 0.1 and low > 0:
        return f"{format_duration(low)}–{format_duration(high)}"
    return f"{_two_digits(low / size)}–{_two_digits(high / size)} {unit}"


def format_share(share: float) -> str:
    """`12 %`; what is not quite none or all stays visible: `<1 %`, `>99 %`."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{share * 100:.0f} %"


def format_value(value: float, unit: str, signal: str = "") -> str:
    """A value of a signal in its UCUM unit as OpenTelemetry names it: `1.5 GiB`, `250 ms`, `5 %`, `100`."""
    if not math.isfinite(value):
        return format_number(value)
    base, _, per = unit.partition("/")
    suffix = f"/{per}" if per else ""
    if base == "By" or (not unit and any(word in signal for word in _BYTE_WORDS)):
        return _size(value) + suffix
    if base in ("s", "ms", "us"):
        return format_duration(value * {"s": 1.0, "ms": 1e-3, "us": 1e-6}[base]) + suffix
    if base == "%":
        return f"{format_number(value)} %{suffix}"
    if base in ("1", "") and any(word in signal for word in _RATIO_WORDS):
        return f"{format_number(value * 100)} %{suffix}"
    return format_number(value) + (f" {suffix}" if suffix else "")


def format_change(value: float, unit: str, signal: str = "") -> str:
    """The size of a change of a value: as `format_value`, a share of a hundred in `percentage points`."""
    text = format_value(abs(value), unit, signal)
    return f"{text.removesuffix('%')}percentage points" if text.endswith(" %") else text


def format_time_to_failure(ttf: TimeToFailure, probability: float, horizon_seconds: float) -> str:
    """`in 2.1 h (80 %: 1.4–3.3 h; 12 %: never)`, and in honest words where the median is unknown."""
    never = f"; {format_share(ttf.never)}: never" if ttf.never >= 0.005 else ""
    if ttf.p50 is not None:
        return f"in {format_duration(ttf.p50, ttf.p90)} (80 %: {format_interval(ttf.p10, ttf.p90)}{never})"
    if ttf.p10 is not None:
        return (
            f"in {format_duration(ttf.p10)} at the earliest, more likely later or not at all{never.replace(';', ',')}"
        )
    return f"within {format_duration(horizon_seconds)} with a probability of {format_share(probability)}"


def format_instant(at: datetime) -> str:
    """`2026-11-22 14:05 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span_of(seconds: float) -> tuple[float, str]:
    """The unit to write a duration in: minutes up to 90 min, hours up to 48 h."""
    magnitude = abs(seconds)
    if magnitude == 0:
        return 1.0, "s"
    factor = {"d": 2.0, "h": 1.5, "min": 1.5}
    return next(((size, unit) for size, unit in _SPANS if magnitude >= size * factor.get(unit, 1.0)), _SPANS[-1])


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


def _size(value: float) -> str:
    power = min(int(math.log(abs(value), 1024)), len(_SIZES) - 1) if abs(value) >= 1 else 0
    return f"{format_number(float(f'{value / 1024**power:.3g}'))} {_SIZES[power]}"

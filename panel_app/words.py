"""Numbers in words that people read at a glance: durations, intervals, shares, values with units."""

from datetime import datetime

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DURATIONS = ((86400 * 2, 86400, "d"), (3600, 3600, "h"), (100, 60, "min"), (0, 1, "s"))


def _unit(seconds: float) -> tuple[float, str]:
    return next((scale, name) for least, scale, name in _DURATIONS if abs(seconds) >= least)


def _plain(number: float) -> str:
    if number and abs(number) < 0.01:
        return f"{number:.1g}"
    text = f"{number:.1f}" if abs(number) < 10 else f"{number:,.0f}"
    return text.removesuffix(".0")


def duration(seconds: float | None) -> str:
    """'2.1 h', '14 min', '35 s', '3.2 d'; '–' where there is none."""
    if seconds is None:
        return "–"
    scale, name = _unit(seconds)
    return f"{_plain(seconds / scale)} {name}"


def interval(low: float | None, high: float | None) -> str:
    """'1.4–3.3 h' in the unit of the upper end; 'from 1.4 h' without an upper end."""
    if low is None and high is None:
        return "–"
    if high is None:
        return f"from {duration(low)}"
    if low is None:
        return f"up to {duration(high)}"
    scale, name = _unit(high)
    if low and low / scale < 0.1:
        return f"{duration(low)} – {duration(high)}"
    return f"{_plain(low / scale)}–{_plain(high / scale)} {name}"


def percent(share: float | None) -> str:
    """'88 %'; '<1 %' and '>99 %' rather than a certainty that nobody has."""
    if share is None:
        return "–"
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{share * 100:.0f} %"


def value(number: float | None, unit: str = "") -> str:
    """A value with its UCUM unit as OpenTelemetry writes it: 'By' in binary steps, '1' as a share, 's' as time."""
    if number is None or number != number:
        return "–"
    if unit == "By":
        return _bytes(number)
    if unit == "1":
        return f"{number * 100:.3g} %"
    if unit in ("s", "ms"):
        return _seconds(number * (0.001 if unit == "ms" else 1))
    return count(number) + (f" {unit.strip('{}')}" if unit else "")


def _bytes(number: float) -> str:
    step = 0
    while abs(number) >= 1024 and step < len(_BINARY) - 1:
        number, step = number / 1024, step + 1
    return f"{number:.3g} {_BINARY[step]}" if abs(number) < 999.5 else f"{number:.0f} {_BINARY[step]}"


def _seconds(number: float) -> str:
    return f"{number * 1000:.3g} ms" if abs(number) < 1 else duration(number)


def count(number: float) -> str:
    """'812,400', '0.41', '9.12 M'."""
    if abs(number) >= 1e7:
        return f"{number / 1e6:,.4g} M" if abs(number) < 1e10 else f"{number / 1e9:,.4g} G"
    if float(number).is_integer():
        return f"{int(number):,}"
    return f"{number:,.3g}" if abs(number) < 1000 else f"{number:,.0f}"


def plural(number: int, noun: str) -> str:
    """'1 service', '3 services', '2 series'."""
    return f"{number:,} {noun}" if number == 1 or noun.endswith("s") else f"{number:,} {noun}s"


def title(name: str) -> str:
    """'connection_exhaustion' as 'connection exhaustion'."""
    return name.replace("_", " ")


def short(entity: str) -> str:
    """An entity without its namespace."""
    return entity.partition("/")[2] or entity


def iso(at: datetime | None) -> str:
    """ISO 8601 for the `fw-time` element, which shows it in the reader's zone."""
    return at.isoformat() if at else ""

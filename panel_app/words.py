"""Words of the page templates; numbers are written as everywhere else in Forewarn."""

from datetime import datetime

from forewarn.risk import quantities


def duration(seconds: float | None) -> str:
    """'2.1 h', '14 min'; '–' where there is none."""
    return "–" if seconds is None else quantities.format_duration(seconds)


def interval(low: float | None, high: float | None) -> str:
    """'1.4–3.3 h', '1.4 h or later'; '–' where neither end is known."""
    return "–" if low is None and high is None else quantities.format_interval(low, high)


def percent(share: float | None) -> str:
    """'88 %'; '–' where there is none."""
    return "–" if share is None else quantities.format_share(share)


def count(number: float) -> str:
    """'812 400', '0.41', '9.12 M' from ten millions on."""
    if abs(number) < 1e7:
        return quantities.format_number(number)
    size, letter = (1e9, "G") if abs(number) >= 1e10 else (1e6, "M")
    return f"{quantities.format_number(float(f'{number / size:.3g}'))} {letter}"


def plural(number: int, noun: str, several: str = "") -> str:
    """'1 service', '3 services', '2 entities'."""
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"


def title(name: str) -> str:
    """'connection_exhaustion' as 'connection exhaustion'."""
    return name.replace("_", " ")


def short(entity: str) -> str:
    """An entity without its namespace."""
    return entity.partition("/")[2] or entity


def iso(at: datetime | None) -> str:
    """ISO 8601 for the `fw-time` element, which shows it in the reader's zone."""
    return at.isoformat() if at else ""

"""Fields of logs as log shippers write them: times, severities, trace ids."""

import re
from datetime import UTC, datetime
from typing import Any

_LAST_TIME = 2**63 - 1
# What a number of seconds, milliseconds, microseconds and nanoseconds since 1970 looks like (from 1973 on).
_UNITS = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (0.0, 1_000_000_000))
_DIGITS = re.compile(r"\d+(\.\d+)?")
_SPACE_BEFORE_ZONE = re.compile(r" (?=[+-]\d\d:?\d\d$)")
_SUB_MICROSECOND = re.compile(r"(?<=\.\d{6})\d+")

TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRITICAL, FATAL = 1, 5, 9, 10, 13, 17, 18, 21  # OTLP's severity numbers
_WORDS = {
    **dict.fromkeys(("trace", "verbose", "finest"), TRACE),
    **dict.fromkeys(("debug", "dbug", "fine", "finer"), DEBUG),
    **dict.fromkeys(("info", "information", "informational", "log"), INFO),
    "notice": NOTICE,
    **dict.fromkeys(("warn", "warning"), WARN),
    **dict.fromkeys(("error", "err", "eror", "severe"), ERROR),
    **dict.fromkeys(("critical", "crit", "alert"), CRITICAL),
    **dict.fromkeys(("fatal", "emerg", "emergency", "panic", "dpanic"), FATAL),
}
_SYSLOG = (FATAL, CRITICAL, CRITICAL, ERROR, WARN, NOTICE, INFO, DEBUG)  # RFC 5424, 0 is an emergency
_TENS = (TRACE, DEBUG, INFO, WARN, ERROR, FATAL)  # pino and bunyan: 10 to 60
_IN_LINE = re.compile(
    r"""\b(?:level|lvl|severity)"?\s*[=:]\s*"?([A-Za-z]+)
    |\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC)\b
    |\[(trace|debug|info|notice|warn|warning|error|crit|critical|alert|emerg|fatal)\]""",
    re.VERBOSE,
)
_LOOKED_AT = 256  # characters of a line in which its severity is looked for


def time_ns(value: Any) -> int:
    """Nanoseconds since 1970: a number of s, ms, µs or ns (told apart by size), or RFC 3339 (UTC where it names no
    zone). 0 where it cannot be read."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        return _of_text(value.strip())
    if not isinstance(value, int | float) or not 0 < value < 1e19:
        return 0
    factor = next(factor for least, factor in _UNITS if value >= least)
    seconds = int(value)  # apart from the fraction: a double does not hold nanoseconds
    time = seconds * factor + round((value - seconds) * factor)
    return time if time <= _LAST_TIME else 0


def _of_text(text: str) -> int:
    if _DIGITS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return time_ns(float(text) if fraction else int(whole)) if len(whole) < 20 else 0
    try:
        at = datetime.fromisoformat(_SPACE_BEFORE_ZONE.sub("", _SUB_MICROSECOND.sub("", text)))
    except ValueError:
        return 0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    time = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    return time if 0 < time <= _LAST_TIME else 0


def severity_number(value: Any) -> int:
    """OTLP's number of a severity: a word, syslog's 0 to 7, or 10 to 60 as pino and bunyan count; 0: unknown."""
    if isinstance(value, str):
        text = value.strip().lower()
        return _WORDS.get(text, severity_number(int(text)) if text.isdecimal() and len(text) < 4 else 0)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    if 0 <= value < len(_SYSLOG):
        return _SYSLOG[value]
    return _TENS[value // 10 - 1] if 10 <= value < 70 else 0


def severity_in(line: str) -> int:
    """The severity that a line itself tells (`level=warn`, `ERROR`, `[error]`) in its beginning; 0: none."""
    found = _IN_LINE.search(line, 0, _LOOKED_AT)
    return _WORDS.get((found[1] or found[2] or found[3]).lower(), 0) if found else 0


def hex_id(value: Any, digits: int) -> bytes:
    """A trace or span id; empty where the value is not that many hexadecimal digits, or all are 0."""
    if not isinstance(value, str) or len(value) != digits:
        return b""
    try:
        number = bytes.fromhex(value)
    except ValueError:
        return b""
    return number if any(number) and len(number) * 2 == digits else b""

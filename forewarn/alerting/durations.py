"""Durations as people write them: `30s`, `5m`, `1h30m`, `2d`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"\s*(?:{_PART.pattern}\s*)+")


def parse_duration(value: Any) -> timedelta:
    """Raises ValueError that shows how a duration is written. A number alone is seconds."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("write a duration such as 30s, 5m, 1h30m or 2d")
    if isinstance(value, int | float):
        seconds = float(value)
    elif _WHOLE.fullmatch(value):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    else:
        raise ValueError(f"'{value}' is no duration: write 30s, 5m, 1h30m or 2d")
    if not 0 <= seconds <= 366 * 86_400:
        raise ValueError(f"'{value}' is not between 0 and a year")
    return timedelta(seconds=seconds)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]

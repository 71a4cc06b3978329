"""Numbers as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.risk.quantities import (
    format_duration,
    format_interval,
    format_number,
    format_share,
    format_time_to_failure,
    format_value,
)
from forewarn.risk.records import TimeToFailure


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.25, "250 ms"), (45, "45 s"), (89, "89 s"), (2280, "38 min"), (7560, "2.1 h"), (86_400, "24 h"),
     (276_480, "3.2 d"), (7_200, "2 h"), (7_199, "2.0 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(5040, 11880, "1.4–3.3 h"), (240, 11880, "4 min–3.3 h"), (2400, 11880, "0.7–3.3 h"),
     (5040, None, "84 min or later"), (None, None, "later or never"), (1200, 3000, "20–50 min")],
)  # fmt: skip
def test_intervals(low: float | None, high: float | None, text: str) -> None:
    assert format_interval(low, high) == text


@pytest.mark.parametrize(
    ("value", "unit", "signal", "text"),
    [(100, "{connection}", "pool", "100"), (53687091200, "By", "x", "50 GiB"), (1.5 * 2**20, "By/s", "x", "1.5 MiB/s"),
     (0.05, "1", "error_ratio", "5 %"), (0.5, "s", "x", "500 ms"), (93.4, "%", "x", "93.4 %"), 
     (1234567, "", "x", "1\u202f234\u202f567"),     (2**31, "", "system.filesystem.usage{mountpoint=/}", "2 GiB"),
     (math.inf, "By", "x", "unlimited"), (0, "By", "x", "0 B")],
)  # fmt: skip
def test_values(value: float, unit: str, signal: str, text: str) -> None:
    assert format_value(value, unit, signal) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.12, "12 %"), (0.001, "<1 %"), (0.999, ">99 %"), (1, "100 %"), (0, "0 %")]
)
def test_shares(share: float, text: str) -> None:
    assert format_share(share) == text


@pytest.mark.parametrize(
    ("ttf", "text"),
    [(TimeToFailure(5040, 7560, 11880, 0.12), "in 2.1 h (80 %: 1.4–3.3 h; 12 %: never)"),
     (TimeToFailure(2880, 4320, 6786, 0.0), "in 1.2 h (80 %: 0.8–1.9 h)"),
     (TimeToFailure(5040, 7560, None, 0.3), "in 2.1 h (80 %: 84 min or later; 30 %: never)"),
     (TimeToFailure(5040, None, None, 0.6), "in 84 min at the earliest, more likely later or not at all, 60 %: never"),
     (TimeToFailure(None, None, None, 0.9), "within 6 h with a probability of 10 %")],
)  # fmt: skip
def test_time_to_failure(ttf: TimeToFailure, text: str) -> None:
    assert format_time_to_failure(ttf, 0.1, 21_600) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_can_be_written(value: float) -> None:
    for unit in ("", "By", "s", "1", "%"):
        assert format_value(value, unit, "x.usage") and format_number(value)
    if math.isfinite(value):
        assert format_duration(abs(value))

"""Working hours and maintenance windows over the changes to and from summer time."""

from datetime import UTC, datetime, timedelta

import pytest

from forewarn.alerting.calendars import Maintenance, WorkingHours
from forewarn.alerting.policy import WorkingHoursSpec

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(
    starts: str, until: str | None = None, hours: float | None = None, rrule: str = "", zone: str = BERLIN
) -> Maintenance:
    duration = timedelta(hours=hours) if hours is not None else None
    return Maintenance.read("backup", {"entity": "shop/*"}, zone, starts, until, duration, rrule)


SUNDAYS = window("2026-01-04 01:00", until="04:00", rrule="FREQ=WEEKLY;BYDAY=SU")
NIGHTS = window("2026-03-01 22:00", until="02:30", rrule="FREQ=DAILY")
STOPWATCH = window("2026-01-04 01:00", hours=3, rrule="FREQ=WEEKLY;BYDAY=SU")


@pytest.mark.parametrize(
    ("of", "first", "last", "what"),
    [
        (SUNDAYS, "2026-03-22 00:00", "2026-03-22 03:00", "winter: 1:00 is midnight UTC"),
        (SUNDAYS, "2026-03-29 00:00", "2026-03-29 02:00", "the hour from 2 to 3 does not exist"),
        (SUNDAYS, "2026-04-04 23:00", "2026-04-05 02:00", "summer: 1:00 is 23:00 UTC"),
        (SUNDAYS, "2026-10-24 23:00", "2026-10-25 03:00", "the hour from 2 to 3 is there twice"),
        (STOPWATCH, "2026-03-29 00:00", "2026-03-29 03:00", "three hours are three hours"),
        (STOPWATCH, "2026-10-24 23:00", "2026-10-25 02:00", "three hours are three hours"),
        (NIGHTS, "2026-03-28 21:00", "2026-03-29 01:30", "2:30 does not exist: 3:30 it is"),
    ],
)  # fmt: skip
def test_windows_are_on_from_first_to_last_minute(of: Maintenance, first: str, last: str, what: str) -> None:
    minute = timedelta(minutes=1)
    start, end = utc(first), utc(last)
    assert of.ends_at(start - minute) is None, what
    assert of.ends_at(start) == end == of.ends_at(end - minute), what
    assert of.ends_at(end) is None, what


def test_a_start_that_does_not_exist_comes_an_hour_later() -> None:
    night = window("2026-01-04 02:30", hours=1, rrule="FREQ=WEEKLY;BYDAY=SU")
    assert night.next_start(utc("2026-03-28 12:00")) == utc("2026-03-29 01:30")
    assert night.next_start(utc("2026-10-24 12:00")) == utc("2026-10-25 00:30"), "of two, the first"


def test_once_means_once() -> None:
    once = window("2026-05-01 10:00", hours=1, zone="UTC")
    assert once.ends_at(utc("2026-05-01 10:30")) == utc("2026-05-01 11:00")
    assert once.ends_at(utc("2026-05-08 10:30")) is None and once.next_start(utc("2026-05-02 00:00")) is None


def test_the_second_tuesday_of_a_month_until_the_rule_ends() -> None:
    patches = window("2026-01-13 20:00", hours=2, rrule="FREQ=MONTHLY;BYDAY=2TU;UNTIL=20260701T000000Z")
    assert patches.ends_at(utc("2026-06-09 18:30")) == utc("2026-06-09 20:00")
    assert patches.ends_at(utc("2026-07-14 18:30")) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rrule": "FREQ=SOMETIMES"}, "rrule"),
        ({"rrule": "BYDAY=MO"}, "rrule"),
        ({"zone": "Mars/Olympus"}, "time zone"),
        ({"until": "04:00", "hours": 2.0}, "one of them"),
        ({"until": None, "hours": None}, "one of them"),
        ({"starts": "tomorrow"}, "starts"),
        ({"starts": "2026-01-04 01:00+01:00"}, "without an offset"),
        ({"hours": 0.0, "until": None}, "longer than 0"),
    ],
)
def test_what_cannot_be_read_is_said(change: dict[str, object], said: str) -> None:
    given = {"starts": "2026-01-04 01:00", "until": "04:00", **change}
    with pytest.raises(ValueError, match=said):
        window(**given)  # type: ignore[arg-type]


HOURS = WorkingHoursSpec.model_validate({"timezone": BERLIN, "holidays": ["2026-12-25"]}).calendar()


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-03-27 12:00", "2026-03-27 12:00"),  # Friday noon: at work
        ("2026-03-27 16:00", "2026-03-30 07:00"),  # Friday 17:00: Monday 9:00 is already summer time
        ("2026-10-23 15:00", "2026-10-26 08:00"),  # and Monday 9:00 winter time
        ("2026-12-24 17:00", "2026-12-28 08:00"),  # a holiday before a weekend
        ("2026-06-03 05:00", "2026-06-03 07:00"),  # early in the morning: the same day
    ],
)
def test_the_next_working_hour(now: str, start: str) -> None:
    assert HOURS.next_start(utc(now)) == utc(start)


def test_nobody_ever_works() -> None:
    assert WorkingHours(BERLIN, frozenset(), HOURS.start, HOURS.end).next_start(utc("2026-01-01 00:00")) is None

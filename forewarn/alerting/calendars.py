"""Working hours and recurring maintenance windows, right across time zones and daylight saving."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LONGEST = timedelta(days=31)


def zone(name: str) -> ZoneInfo:
    """Raises ValueError for a time zone that is not in the IANA database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"'{name}' is no time zone: write one such as Europe/Berlin or UTC") from error


def local_time(text: str) -> time:
    """`09:00`. Raises ValueError."""
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no time of day: write 09:00, in quotes") from error


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Local hours of the days of a week (Monday is 0), holidays excepted."""

    timezone: str
    days: frozenset[int]
    start: time
    end: time
    holidays: frozenset[date] = frozenset()

    def contains(self, at: datetime) -> bool:
        """Whether people are at work."""
        local = at.astimezone(zone(self.timezone))
        return self._works(local.date()) and self.start <= local.time() < self.end

    def next_start(self, at: datetime) -> datetime | None:
        """When they next begin (UTC), `at` itself within them; None where they do not within a year."""
        if self.contains(at):
            return at
        here = zone(self.timezone)
        today = at.astimezone(here).date()
        for days in range(367):
            day = today + timedelta(days=days)
            begins = datetime.combine(day, self.start, here).astimezone(UTC)
            if self._works(day) and begins > at:
                return begins
        return None

    def _works(self, day: date) -> bool:
        return day.weekday() in self.days and day not in self.holidays


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window during which nobody is told, once or by an RFC 5545 recurrence rule in local time.

    starts: local wall time of the first. It ends at the local time `until` of the same or the next day, or `duration`
    later as a stopwatch measures it: over the change to summer time a window from 01:00 until 04:00 lasts two hours,
    one of three hours ends at 05:00.
    """

    name: str
    match: Mapping[str, str | Sequence[str]]
    timezone: str
    starts: datetime  # naive
    until: time | None
    duration: timedelta | None
    rrule: str
    comment: str = ""

    @classmethod
    def read(
        cls, name: str, match: Mapping[str, str | Sequence[str]], timezone: str, starts: str, until: str | None,
        duration: timedelta | None, rrule: str, comment: str = "",
    ) -> "Maintenance":  # fmt: skip
        """From text. Raises ValueError that says what cannot be read."""
        zone(timezone)
        if (until is None) == (duration is None):
            raise ValueError("a window needs 'until' or 'duration', one of them")
        if duration is not None and not timedelta(0) < duration <= _LONGEST:
            raise ValueError("a window lasts longer than 0 and at most 31 days")
        try:
            first = datetime.fromisoformat(starts)
        except ValueError as error:
            raise ValueError(f"starts: '{starts}' is no local time: write 2026-03-29 01:00") from error
        if first.tzinfo is not None:
            raise ValueError("starts: write the local time without an offset; 'timezone' says where")
        end = local_time(until) if until is not None else None
        window = cls(name, dict(match), timezone, first, end, duration, rrule.removeprefix("RRULE:"), comment)
        window._check_rule()
        return window

    def ends_at(self, at: datetime) -> datetime | None:
        """When the window that is on at this moment ends (UTC); None where none is on."""
        ends = [end for start in self._starts(at) if start <= at < (end := self._end_of(start))]
        return max(ends, default=None)

    def next_start(self, at: datetime) -> datetime | None:
        """When the next one begins (UTC) within two years, for the dashboard."""
        upcoming = _occurrences(self._calendar()).after(at.astimezone(UTC))
        first = next((event for event in upcoming if _start(event) > at), None)
        return _start(first) if first is not None else None

    def _starts(self, at: datetime) -> list[datetime]:
        """Starts (UTC) of the occurrences that can be on."""
        longest = (self.duration or timedelta(days=1)) + timedelta(hours=3)
        events = _occurrences(self._calendar()).between(at - longest, at + timedelta(hours=3))
        return [_start(event) for event in events]

    def _end_of(self, start: datetime) -> datetime:
        if self.duration is not None:
            return start + self.duration
        assert self.until is not None
        here = zone(self.timezone)
        local = start.astimezone(here)
        day = local.date() if self.until > self.starts.time() else local.date() + timedelta(days=1)
        return datetime.combine(day, self.until, here).astimezone(UTC)

    def _calendar(self) -> object:
        from icalendar import Calendar, Event, vRecur

        event = Event()
        event.add("uid", self.name)
        event.add("dtstart", self.starts.replace(tzinfo=zone(self.timezone)))
        event.add("duration", timedelta(minutes=1))
        if self.rrule:
            event.add("rrule", vRecur.from_ical(self.rrule))
        calendar = Calendar()
        calendar.add_component(event)
        return calendar

    def _check_rule(self) -> None:
        try:
            self._starts(self.starts.replace(tzinfo=UTC))
        except Exception as error:  # the library raises what its parser raises
            raise ValueError(f"rrule: '{self.rrule}' cannot be read ({error}): see RFC 5545, 3.3.10") from error


def _occurrences(calendar: object) -> Any:
    import recurring_ical_events  # type: ignore[import-untyped]

    return recurring_ical_events.of(calendar)


def _start(event: object) -> datetime:
    found: datetime = event.start  # type: ignore[attr-defined]
    return found.astimezone(UTC)

"""User activity of one service to signals: events, actions, active users, sessions, conversion."""

from datetime import UTC, datetime
from typing import Self

import msgspec

from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.connectors import names
from forewarn.telemetry.connectors.meter import Values, slot
from forewarn.telemetry.connectors.options import NANOSECONDS, Options

MOST_ACTIONS = 20
MOST_USERS = 50_000  # of a service, within a session's gap; beyond it the one silent for longest goes
_TREND = 3600 * NANOSECONDS  # conversion is told over the last hour
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ActivityBucket(msgspec.Struct):
    """Events of one bucket: how many, by action; users: hash -> (last time, did what the session is for)."""

    events: int = 0
    actions: dict[str, int] = {}
    users: dict[str, tuple[int, bool]] = {}


class ActivityMeter(msgspec.Struct):
    """Counts what people do with a service.

    users: hash -> (last seen, has converted) of open sessions, the one silent for longest first. hour: (end of a
    bucket, sessions begun, sessions converted) of the last hour.
    """

    entity: str
    actions: list[str] = []
    users: dict[str, tuple[int, bool]] = {}
    hour: list[tuple[int, int, int]] = []

    @classmethod
    def begin(cls, entity: str, time: int) -> Self:
        """See `Meter`."""
        return cls(entity)

    def bucket(self) -> ActivityBucket:
        """See `Meter`."""
        return ActivityBucket()

    def count(self, bucket: ActivityBucket, record: ActivityEvent, options: Options) -> None:
        """See `Meter`."""
        action = slot(self.actions, record.action, MOST_ACTIONS)
        bucket.events += record.count
        bucket.actions[action] = bucket.actions.get(action, 0) + record.count
        if record.user_hash is not None and (record.user_hash in bucket.users or len(bucket.users) < MOST_USERS):
            last, converted = bucket.users.get(record.user_hash, (0, False))
            converted = converted or record.action in options.conversions
            bucket.users[record.user_hash] = max(last, time_of(record)), converted

    def close(self, bucket: ActivityBucket, end: int, options: Options) -> Values:
        """See `Meter`. Sessions are counted in steps of a bucket; the ratio is of conversions to sessions begun."""
        started, converted = self._sessions(bucket, end, options)
        width = options.bucket
        self.hour = [row for row in self.hour if row[0] > end - _TREND]
        if started or converted:
            self.hour.append((end, started, converted))
        values: Values = {(names.ACTIVITY_RATE, ()): bucket.events / width}
        for action in (*self.actions, *(a for a in bucket.actions if a not in self.actions)):
            values[names.ACTIVITY_ACTION_RATE, (("activity.action", action),)] = bucket.actions.get(action, 0) / width
        if self.users or self.hour:
            values[names.ACTIVITY_USERS, ()] = float(len(bucket.users))
            values[names.ACTIVITY_SESSIONS, ()] = float(len(self.users))
            values[names.ACTIVITY_STARTED, ()] = started / width
        begun = sum(row[1] for row in self.hour)
        if begun:
            values[names.ACTIVITY_CONVERSION, ()] = sum(row[2] for row in self.hour) / begun
        return values

    def _sessions(self, bucket: ActivityBucket, end: int, options: Options) -> tuple[int, int]:
        """Take the bucket's users into the sessions; how many began, and how many converted for the first time."""
        gap = int(options.session_gap * NANOSECONDS)
        started = converted = 0
        for user, (last, did) in sorted(bucket.users.items(), key=lambda item: (item[1][0], item[0])):
            seen, had = self.users.pop(user, (0, False))
            begins = last - seen > gap + options.bucket * NANOSECONDS
            started += begins
            converted += did and (begins or not had)
            self.users[user] = last, did or (had and not begins)
        while self.users and (len(self.users) > MOST_USERS or next(iter(self.users.values()))[0] < end - gap):
            del self.users[next(iter(self.users))]
        return started, converted


def time_of(event: ActivityEvent) -> int:
    """Event time in nanoseconds; events from the topic have one."""
    assert isinstance(event.time, datetime)
    passed = event.time - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * NANOSECONDS + passed.microseconds * 1000

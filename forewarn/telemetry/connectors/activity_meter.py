"""User activity of one service to signals: events, actions, active users, sessions, conversion."""

from datetime import UTC, datetime
from typing import Self

import msgspec

from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.connectors import names
from forewarn.telemetry.connectors.meter import Values, known_by, slot
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

    actions: those that are told by name, and when they came first. users: hash -> (last seen, end of the bucket in
    which the session began, has converted) of open sessions, the one silent for longest first. hour: end of a bucket
    -> (sessions begun in it, of them converted) of the last hour.
    """

    entity: str
    actions: dict[str, int] = {}
    users: dict[str, tuple[int, int, bool]] = {}
    hour: dict[int, tuple[int, int]] = {}

    @classmethod
    def begin(cls, entity: str, time: int) -> Self:
        """See `Meter`."""
        return cls(entity)

    def bucket(self) -> ActivityBucket:
        """See `Meter`."""
        return ActivityBucket()

    def count(self, bucket: ActivityBucket, record: ActivityEvent, options: Options) -> None:
        """See `Meter`."""
        action = slot(self.actions, record.action, time_of(record), MOST_ACTIONS)
        bucket.events += record.count
        bucket.actions[action] = bucket.actions.get(action, 0) + record.count
        if record.user_hash is not None and (record.user_hash in bucket.users or len(bucket.users) < MOST_USERS):
            last, converted = bucket.users.get(record.user_hash, (0, False))
            converted = converted or record.action in options.conversions
            bucket.users[record.user_hash] = max(last, time_of(record)), converted

    def close(self, bucket: ActivityBucket, end: int, options: Options) -> Values:
        """See `Meter`. The ratio is that of sessions begun in the last hour that have converted so far."""
        width = options.bucket
        self.hour = {begun: row for begun, row in self.hour.items() if begun > end - _TREND}
        started = self._sessions(bucket, end, options)
        values: Values = {(names.ACTIVITY_RATE, ()): bucket.events / width}
        for action in known_by(end, self.actions, bucket.actions):
            values[names.ACTIVITY_ACTION_RATE, (("activity.action", action),)] = bucket.actions.get(action, 0) / width
        if self.users or self.hour:
            values[names.ACTIVITY_USERS, ()] = float(len(bucket.users))
            values[names.ACTIVITY_SESSIONS, ()] = float(len(self.users))
            values[names.ACTIVITY_STARTED, ()] = started / width
        begun = sum(row[0] for row in self.hour.values())
        if begun:
            values[names.ACTIVITY_CONVERSION, ()] = sum(row[1] for row in self.hour.values()) / begun
        return values

    def _sessions(self, bucket: ActivityBucket, end: int, options: Options) -> int:
        """Take the bucket's users into the sessions; how many sessions began."""
        gap = int(options.session_gap * NANOSECONDS)
        started = 0
        for user, (last, did) in sorted(bucket.users.items(), key=lambda item: (item[1][0], item[0])):
            seen, begun, had = self.users.pop(user, (0, 0, False))
            if last - seen > gap + options.bucket * NANOSECONDS:
                begun, had = end, False
                started += 1
                self._add(begun, 1, 0)
            if did and not had:
                self._add(begun, 0, 1)
            self.users[user] = last, begun, did or had
        while self.users and (len(self.users) > MOST_USERS or next(iter(self.users.values()))[0] < end - gap):
            del self.users[next(iter(self.users))]
        return started

    def _add(self, begun: int, sessions: int, converted: int) -> None:
        """Count in the row of the bucket in which a session began, unless that was more than an hour ago."""
        if begun in self.hour or sessions:
            known = self.hour.get(begun, (0, 0))
            self.hour[begun] = known[0] + sessions, known[1] + converted


def time_of(event: ActivityEvent) -> int:
    """Event time in nanoseconds; events from the topic have one."""
    assert isinstance(event.time, datetime)
    passed = event.time - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * NANOSECONDS + passed.microseconds * 1000

"""User activity: what people do with a service, as JSON events without names."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import bounded, clean


class ActivityEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """`{"service": "shop/web", "action": "checkout", "user_hash": "9f2c", "time": "2026-01-05T10:00:00Z", "count": 3}`

    `service` is an entity; `user_hash` (optional) a hash that the sender made, never a name; `time` (optional,
    RFC 3339 or seconds since 1970) is when it happened, the arrival counts without it; `count` (optional) folds
    equal events into one.
    """

    service: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    action: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    user_hash: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    time: datetime | Annotated[float, msgspec.Meta(gt=0, lt=9e9)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1


_decoder = msgspec.json.Decoder(list[ActivityEvent] | ActivityEvent)


def decode_activity(payload: bytes, now: datetime | None = None) -> list[ActivityEvent]:
    """Events of a JSON object or list; `now` is the time of those that tell none.

    Raises TelemetryError with the path of what is wrong, also for a missing time where `now` is None.
    """
    try:
        decoded = _decoder.decode(payload)
        events = decoded if isinstance(decoded, list) else [decoded]
        return [_completed(event, now) for event in events]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise TelemetryError(f"not an activity event: {error}") from error


def encode_activity(events: list[ActivityEvent]) -> bytes:
    """JSON list of events, as it is on the topic."""
    return msgspec.json.encode(events)


def _completed(event: ActivityEvent, now: datetime | None) -> ActivityEvent:
    return msgspec.structs.replace(
        event,
        service=bounded(clean(event.service)),
        action=clean(event.action),
        user_hash=None if event.user_hash is None else clean(event.user_hash),
        time=_utc(event, now),
    )


def _utc(event: ActivityEvent, now: datetime | None) -> datetime:
    time = now if event.time is None else event.time
    if time is None:
        raise TelemetryError(f"activity '{event.action}' of {event.service} has no time")
    if isinstance(time, float):
        return datetime.fromtimestamp(time, UTC)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

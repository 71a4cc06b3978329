"""Activity events are completed and checked."""

from datetime import UTC, datetime

import pytest

from forewarn.telemetry.activity import decode_activity, encode_activity
from forewarn.telemetry.errors import TelemetryError

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_one_or_many_with_times_of_either_form() -> None:
    (one,) = decode_activity(b'{"service": "shop/web", "action": "buy"}', NOW)
    assert (one.time, one.count, one.user_hash) == (NOW, 1, None)
    seconds, text = decode_activity(
        b'[{"service":"s","action":"a","time":1767571200},{"service":"s","action":"a","time":"2026-01-05T01:00:00+01:00"}]'
    )
    assert seconds.time == text.time == NOW
    assert decode_activity(encode_activity([seconds, text])) == [seconds, text]


@pytest.mark.parametrize(
    "payload",
    [b"", b"3", b'{"service": ""}', b'{"service":"s","action":"a"}', b'{"service":"s","action":"a","time":1e300}',
     b'{"service":"s","action":"a","time":1,"count":0}', b"[" * 100_000],
)  # fmt: skip
def test_garbage_raises_telemetry_error(payload: bytes) -> None:
    with pytest.raises(TelemetryError):
        decode_activity(payload)

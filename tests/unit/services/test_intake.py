"""What the alerter accepts from the log."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from incident_records import clock, failure, recovery, risk

from forewarn.risk.records import encode
from forewarn.services.alerter.intake import Record, read_record
from forewarn.services.alerter.sender import retry_seconds
from forewarn.telemetry import topics


@pytest.mark.parametrize("record", [failure(1), recovery(1), clock(1)])
def test_good_records_are_read(record: Any) -> None:
    assert read_record(topics.OBSERVATIONS, encode(record)) == record
    assert read_record(topics.RISKS, encode(risk(0))) == risk(0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, "schema_version 2"),
        ({"state": "maybe"}, "state 'maybe'"),
        ({"probability": 1.2}, "probability"),
        ({"horizon_seconds": -1}, "horizon_seconds"),
        ({"horizon_seconds": 1e300}, "horizon_seconds"),
        ({"episode": "x"}, "badly formed"),
        ({"predicted_at": "2026-03-02T12:00:00"}, "no offset"),
        ({"limit": None}, "limit"),
        ({"drivers": "many"}, "drivers"),
    ],
)
def test_a_wrong_risk_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_record(topics.RISKS, json.dumps(json.loads(encode(risk(0))) | change).encode())


@pytest.mark.parametrize(
    "payload", [None, b"", b"{}", b"[]", b'{"type":"watermark","namespace":"x","at":"2026-03-02"}']
)
def test_what_is_no_observation_is_refused(payload: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_record(topics.OBSERVATIONS, payload)


def test_at_the_same_time_predictions_come_first_and_clocks_last() -> None:
    make: Callable[[Any], Record] = lambda r: Record(r, None)  # type: ignore[arg-type]  # noqa: E731
    records = [make(r) for r in (clock(1), recovery(1), failure(1), risk(1), clock(0))]
    assert [r.record for r in sorted(records, key=lambda r: r.order)] == [
        clock(0), risk(1), failure(1), recovery(1), clock(1),
    ]  # fmt: skip


def test_retries_back_off_to_five_minutes() -> None:
    assert [retry_seconds(n) for n in (0, 1, 5, 9, 5000)] == [1, 2, 32, 300, 300]

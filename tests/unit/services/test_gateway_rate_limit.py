"""A sender's rate: bursts pass, more is told how long to wait, others are not held up."""

import pytest

from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.rate_limit import RateLimit


class Clock:
    """Time by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _wait(limit: RateLimit, sender: str) -> int | None:
    try:
        limit.admit(sender)
    except Refused as refusal:
        assert refusal.status == 429
        return refusal.retry_after
    return None


def test_requests() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 0, clock)
    assert [_wait(limit, "a") for _ in range(11)] == [None] * 10 + [1]  # five seconds' worth at once
    assert _wait(limit, "b") is None
    clock.now += 1
    assert [_wait(limit, "a") for _ in range(3)] == [None, None, 1]
    clock.now += 1000
    assert [_wait(limit, "a") for _ in range(11)] == [None] * 10 + [1]


def test_bytes_are_paid_for_before_the_next_body() -> None:
    clock = Clock()
    limit = RateLimit(0, 100.0, clock)
    assert _wait(limit, "a") is None
    limit.charge("a", 1500)  # 500 are there
    assert _wait(limit, "a") == 10
    clock.now += 10
    assert _wait(limit, "a") is None


def test_the_wait_is_bounded_and_no_limit_is_none() -> None:
    limit = RateLimit(0, 1.0, Clock())
    limit.charge("a", 10**6)
    assert _wait(limit, "a") == 60
    free = RateLimit(0, 0)
    free.charge("a", 10**9)
    assert _wait(free, "a") is None


def test_many_senders_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit(1.0, 0, Clock())
    for number in range(20_100):
        limit.admit(str(number))
    assert len(limit._senders) == 20_000

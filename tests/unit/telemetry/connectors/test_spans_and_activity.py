"""Spans to rates, errors and quantiles; activity to users, sessions and conversion."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from connector_records import START, read

from forewarn.features.context import context_of
from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.connectors.kinds import ACTIVITY, SPANS
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.span_meter import MOST_OPERATIONS
from forewarn.telemetry.connectors.stream import SignalStream
from forewarn.telemetry.otlp_traces import Span, SpanKind
from forewarn.telemetry.samples import Series


def span(second: float, operation: str = "GET /", seconds: float = 0.1, kind: int = 2, error: bool = False) -> Span:
    return Span(b"t", b"s", b"p", "shop/api", SpanKind(kind), operation, int((START + second) * 1e9), seconds, error)


def test_a_service_has_rate_errors_and_quantiles_of_what_it_serves() -> None:
    durations = np.random.default_rng(1).lognormal(-2, 1, 5000)
    stream = SignalStream(SPANS, Options(allowance=0))
    told = stream.take([span(k / 600, seconds=d, error=k % 4 == 0) for k, d in enumerate(durations)])
    told += stream.take([span(1, "SELECT", 9.0, kind=3)]) + stream.take([span(11)])
    assert read(told, "traces.service.calls.rate") == {10: 500.0}
    assert read(told, "traces.service.error_ratio") == {10: 0.25}
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        value = read(told, f"traces.service.duration.{name}")[10]
        assert value == pytest.approx(np.quantile(durations, q), rel=0.03)
    client = "{span.kind=client,span.name=SELECT}"
    assert read(told, f"traces.span.metrics.duration.p50{client}")[10] == pytest.approx(9.0, rel=0.01)
    assert read(told, f"traces.span.metrics.calls.rate{client}") == {10: 0.1}


def test_quantiles_survive_a_dump() -> None:
    one, two = SignalStream(SPANS, Options(allowance=0)), SignalStream(SPANS, Options(allowance=0))
    one.take([span(k / 100, seconds=k / 7) for k in range(500)])
    two.restore(one.dump())
    more = [span(5 + k / 100, "GET /b", seconds=k) for k in range(300)] + [span(30)]
    left, right = one.take(more), two.take(more)
    assert [o.series for o in left] == [o.series for o in right]
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_operations_are_masked_and_bounded() -> None:
    stream = SignalStream(SPANS, Options(allowance=0))
    told = stream.take([span(k / 100, f"GET /items/{k}") for k in range(500)])
    told += stream.take([span(8, f"op{chr(97 + k // 26)}{chr(97 + k % 26)}") for k in range(300)]) + stream.take(
        [span(20)]
    )
    named = {s.name for one in told for s in one.series if s.signal == "traces.span.metrics.calls.rate"}
    assert "traces.span.metrics.calls.rate{span.kind=server,span.name=GET /items/<NUM>}" in named
    assert len(named) <= MOST_OPERATIONS + 1
    other = read(told, "traces.span.metrics.calls.rate{span.kind=server,span.name=other}")
    assert other[10] == pytest.approx((300 - MOST_OPERATIONS + 1) / 10)


def test_derived_signals_have_no_role_in_features() -> None:
    derived = [
        Series("a", n) for n in ("log.records.error_ratio", "traces.service.duration.p99", "activity.events.rate")
    ]
    own = [Series("a", n) for n in ("http.server.request.rate", "http.server.request.error_ratio")]
    context = context_of([*derived, *own])
    assert set(context.load) == {3} and set(context.errors) == {4} and set(context.latency) == {-1}


def event(minute: float, user: str | None, action: str = "view", count: int = 1) -> ActivityEvent:
    at = datetime.fromtimestamp(START, UTC) + timedelta(minutes=minute)
    return ActivityEvent("shop/web", action, user, at, count)


def test_activity_tells_users_sessions_and_conversion() -> None:
    stream, told = SignalStream(ACTIVITY, Options(bucket=60, allowance=0)), []
    visits = [
        (0, "anna", "view"), (0, "bert", "view"), (1, "anna", "checkout"), (2, "anna", "checkout"), (3, "bert", "view"),
        (50, "bert", "view"), (51, "cora", "checkout"), (52, None, "view"),
    ]  # fmt: skip
    for minute, user, action in visits:
        told += stream.take([event(minute + 0.1, user, action)])
    told += stream.take([event(60, None, "view", 30)]) + stream.take([event(70, None)])
    web = "shop/web"
    begun = {end for end, v in read(told, "activity.sessions.started.rate", web).items() if v}
    assert begun == {40 + 60 * minute for minute in (0, 50, 51)}
    ratio = read(told, "activity.sessions.conversion_ratio", web)
    assert max(ratio.values()) == 0.5, "anna's second checkout is of the same session"
    assert ratio[40 + 60 * 51] == 0.5, "cora and one of anna and bert: two of four, within an hour"
    assert ratio[max(ratio)] == 0.5, "anna and bert began more than an hour ago"
    assert max(read(told, "activity.events.rate", web).values()) == pytest.approx(0.5)
    assert max(read(told, "activity.users.active", web).values()) == 2
    assert max(read(told, "activity.action.rate{activity.action=checkout}", web).values()) == pytest.approx(1 / 60)


def test_users_and_actions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from forewarn.telemetry.connectors import activity_meter

    monkeypatch.setattr(activity_meter, "MOST_USERS", 100)
    stream = SignalStream(ACTIVITY, Options(bucket=60, allowance=0))
    told = stream.take([event(k / 1000, f"u{k}", f"a{k}") for k in range(500)]) + stream.close_idle()
    assert max(read(told, "activity.sessions.open", "shop/web").values()) == 100
    assert len({s.name for one in told for s in one.series if s.signal == "activity.action.rate"}) <= 21

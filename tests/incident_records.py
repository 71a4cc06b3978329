"""Records of a small shop for tests of ledger, incidents and alerts; times are minutes after T0."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from forewarn.risk.records import (
    Action,
    Driver,
    FailureObserved,
    Forecast,
    Recovered,
    Risk,
    TimeToFailure,
    Watermark,
    episode_of,
)

T0 = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
POOL = "db.client.connections.usage"
ERRORS = "http.server.request.error_ratio"
LATENCY = "http.server.request.duration"
DISK = "system.filesystem.usage{mountpoint=/data}"
MODES = {
    POOL: ("connection_exhaustion", 100.0, ""),
    ERRORS: ("error_rate_climb", 0.05, "1"),
    LATENCY: ("latency_breach", 0.5, "s"),
    DISK: ("disk_full", 50 * 2.0**30, "By"),
}
SHOP_EDGES = (("shop/gateway", "shop/api"), ("shop/api", "shop/db"), ("shop/worker", "shop/db"))


def at(minutes: float) -> datetime:
    """Event time so many minutes after T0."""
    return T0 + timedelta(minutes=minutes)


def risk(
    minutes: float = 0,
    entity: str = "shop/db",
    signal: str = POOL,
    revision: int = 0,
    state: str | None = None,
    opened: float | None = None,
    left_hours: float | None = 2.1,
    probability: float = 0.88,
    horizon_hours: float = 6.0,
    drivers: Sequence[Driver] | None = None,
) -> Risk:
    """A prediction made `minutes` after T0; `opened` is when its episode began (default: now)."""
    mode, limit, unit = MODES[signal]
    hours = [None if left_hours is None else left_hours * f * 3600 for f in (0.667, 1.0, 1.571)]
    if drivers is None:
        drivers = [
            Driver("shop/api", "http.server.request.rate", "request rate of shop/api (+38 %/h)", 0.5),
            Driver("shop/db", "db.query.duration", "slow queries", 0.3),
        ]
    return Risk(
        episode=episode_of(entity, signal, mode, at(minutes if opened is None else opened)),
        revision=revision,
        state=state or ("open" if revision == 0 else "update"),
        entity=entity,
        signal=signal,
        mode=mode,
        predicted_at=at(minutes),
        horizon_seconds=horizon_hours * 3600,
        probability=probability,
        time_to_failure=TimeToFailure(*hours, never=1 - probability),
        value=0.62 * limit,
        limit=limit,
        unit=unit,
        drivers=list(drivers),
        evidence=["62 of 100 connections are in use, 41 an hour ago"],
        actions=[Action("raise the pool to 140"), Action("add a read replica", "https://example.org/replica")],
        forecast=forecast(limit),
        model_version="failure-2026-03-01",
    )


def forecast(limit: float) -> Forecast:
    """Three hours of history and six of forecast."""
    history = [60.0 * (i - 180) for i in range(181)]
    future = [60.0 * 5 * i for i in range(73)]
    middle = [limit * (0.62 + 0.38 * t / 7560) for t in future]
    return Forecast(
        history,
        [None if 40 < i < 46 else limit * (0.25 + 0.37 * i / 180 + 0.02 * math.sin(i)) for i in range(181)],
        future,
        [m - limit * 0.1 * t / 7560 for m, t in zip(middle, future, strict=True)],
        middle,
        [m + limit * 0.15 * t / 7560 for m, t in zip(middle, future, strict=True)],
    )


def failure(minutes: float, entity: str = "shop/db", signal: str = POOL) -> FailureObserved:
    """The signal reached its limit."""
    mode, limit, _ = MODES[signal]
    return FailureObserved(entity, signal, mode, at(minutes), limit, limit)


def recovery(minutes: float, entity: str = "shop/db", signal: str = POOL) -> Recovered:
    """The signal is below its limit again."""
    return Recovered(entity, signal, MODES[signal][0], at(minutes))


def clock(minutes: float, namespace: str = "shop") -> Watermark:
    """The namespace's event clock."""
    return Watermark(namespace, at(minutes))

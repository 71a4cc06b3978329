"""A service whose memory per request grows is named among many that do not change, whoever tells its load."""

from datetime import UTC, datetime

import numpy as np

from forewarn.telemetry.samples import Series
from monitor_assets.drift.shifted_signals import moved, shifted_signals
from monitor_assets.history import SignalWindows

STEP, DAY, DAYS = 300.0, 288, 10
START = datetime(2026, 3, 2, tzinfo=UTC)
SERVICES = ("a", "b", "c", "d", "quiet")


def windows(grows: str | None, share: float = 0.6) -> SignalWindows:
    """Memory of some services, the load of all but one; the memory per request of `grows` rises on the last day."""
    rng = np.random.default_rng(3)
    time = np.arange(DAYS * DAY) / DAY
    series: list[Series] = []
    rows: list[np.ndarray] = []
    for k, name in enumerate(SERVICES):
        load = (1 + 0.5 * np.sin(2 * np.pi * (time + 0.02 * k))) * rng.normal(1, 0.03, len(time))
        per_request = np.where((time >= DAYS - 1) & (name == grows), 0.1 * (1 + share), 0.1)
        memory = 0.3 + per_request * load + rng.normal(0, 0.01, len(time))
        series += [Series(f"shop/{name}", "memory"), Series(f"shop/{name}", "memory.limit")]
        rows += [100 * memory, np.full(len(time), 100.0)]
        if name != "quiet":
            series.append(Series(f"shop/{name}", "http.server.request.rate"))
            rows.append(1000 * load)
    cells = np.array(rows, np.float32)
    limits = np.full_like(cells, np.nan)
    limits[[s.signal == "memory" for s in series]] = 100.0
    return SignalWindows(series, cells, limits, int(START.timestamp() * 1e9), STEP)


def test_the_service_that_changed_is_named() -> None:
    for name in ("b", "quiet"):
        world = windows(name)
        found = moved(shifted_signals(world, world.time_of((DAYS - 1) * DAY)))
        assert list(found) == [f"shop/{name}|memory"] and 0.03 < found[f"shop/{name}|memory"] < 0.1


def test_nothing_is_named_where_nothing_changed() -> None:
    world = windows(None)
    judged = shifted_signals(world, world.time_of((DAYS - 1) * DAY))
    assert len(judged) == len(SERVICES) and not moved(judged)


def test_what_was_learned_from_is_no_news() -> None:
    """Days after the training are no reference, also those of the change; too few days before it say nothing."""
    world = windows("b")
    assert shifted_signals(world, world.time_of(3 * DAY)) == {}
    assert list(moved(shifted_signals(world, world.time_of(7 * DAY)))) == ["shop/b|memory"]

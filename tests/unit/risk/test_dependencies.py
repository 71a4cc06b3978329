"""Error ratios of dependencies, and the ratio at which their callers' users see too many errors."""

import numpy as np
import pytest

from forewarn.features.windows import WindowStore
from forewarn.risk.dependencies import Dependencies, objectives_of
from forewarn.telemetry.samples import Kind, SampleBatch, Series

SECOND = 1_000_000_000
RATE = 20.0
CALLS = {"client": {"api"}, "api": {"store"}}
SEEN = Series("client", "http.client.request.error_ratio")
LIMIT = Series("client", "http.client.request.error_ratio.limit")
COUNT = Series("store", "http.server.request.count", kind=Kind.CUMULATIVE)
ERRORS = Series("store", "http.server.request.errors", kind=Kind.CUMULATIVE)
MADE = Series("store", "http.server.request.error_ratio", unit="1")


def _windows(share: np.ndarray, tries: int) -> WindowStore:
    """Windows of a store that fails a share of the tries, and of a client that tries each request so often."""
    n = len(share)
    count, errors = np.cumsum(np.full(n, RATE)), np.cumsum(RATE * share)
    columns = np.stack([share**tries, np.full(n, 0.1), count, errors])
    times = np.repeat(np.arange(1, n + 1) * SECOND, 4)
    windows = WindowStore(1.0)
    windows.put(
        SampleBatch((SEEN, LIMIT, COUNT, ERRORS), np.tile(np.arange(4, dtype=np.int32), n), times, columns.T.ravel())
    )
    return windows


def _limit_after(share: np.ndarray, tries: int) -> tuple[WindowStore, float]:
    windows, end = _windows(share, tries), len(share) + 1
    dependencies = Dependencies(windows)
    for cell in (end - 5, end):
        seen = windows.snapshot(cell)
        stores = [(windows, seen.rows.tolist(), seen.limits.tolist())]
        dependencies.extend(cell, objectives_of(stores, CALLS, dependencies.made))
    seen = windows.snapshot(end)
    limits = {windows.series[int(row)]: float(limit) for row, limit in zip(seen.rows, seen.limits, strict=True)}
    return windows, limits[MADE]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_the_limit_is_the_share_at_which_users_reach_their_objective(tries: int) -> None:
    _, limit = _limit_after(np.linspace(0, 0.4, 300), tries)
    assert limit == pytest.approx(0.1 ** (1 / tries))


def test_without_errors_the_objective_itself_is_the_limit() -> None:
    _, limit = _limit_after(np.zeros(300), 3)
    assert limit == pytest.approx(0.1)


def test_the_ratio_is_of_the_last_half_minute() -> None:
    windows, _ = _limit_after(np.where(np.arange(300) < 285, 0.0, 0.5), 3)
    row = windows.series.index(MADE)
    assert windows.history(np.array([row]), 301, 1)[0, 0] == pytest.approx(0.25, abs=0.02)


def test_a_ratio_of_few_requests_is_not_made() -> None:
    windows = _windows(np.zeros(15), 1)
    dependencies = Dependencies(windows)
    seen = windows.snapshot(10)
    objectives = objectives_of([(windows, seen.rows.tolist(), seen.limits.tolist())], CALLS, set())
    windows._cells.fine[windows.series.index(COUNT)] *= 0.05  # a request a second
    dependencies.extend(10, objectives)
    assert MADE not in windows.series


def test_an_entity_with_an_objective_of_its_own_keeps_to_it_and_strangers_get_none() -> None:
    windows = _windows(np.zeros(60), 1)
    seen = windows.snapshot(61)
    stores = [(windows, seen.rows.tolist(), seen.limits.tolist())]
    assert set(objectives_of(stores, CALLS, set())) == {"api", "store"}
    assert objectives_of(stores, {"other": {"store"}}, set()) == {}
    assert objectives_of(stores, {}, set()) == {}

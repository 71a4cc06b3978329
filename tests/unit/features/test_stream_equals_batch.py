"""Stream and batch compute the same features, and no feature sees its own future."""

import numpy as np
import pytest

from forewarn.features.batch import features_at
from forewarn.features.context import context_of
from forewarn.features.definitions import FEATURE_NAMES, INDEX
from forewarn.features.grid import grid_start, limits_grid, to_grids
from forewarn.features.windows import WindowStore
from forewarn.telemetry.samples import Kind, SampleBatch, Series

STEP = 60.0
STEP_NS = 60 * 10**9
CELLS = 12_000
SERIES = (
    Series("shop/api", "process.memory.usage"),
    Series("shop/api", "process.memory.usage.limit"),
    Series("shop/api", "http.server.request.count", (), Kind.CUMULATIVE),
    Series("shop/api", "http.server.request.error_ratio"),
    Series("shop/api", "http.server.request.duration.p99"),
)
AT = np.array([100, 1000, 5000, 11_999, 12_000])


def telemetry(seed: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(start_ns, index, times_ns, values) with jitter, missing samples and two restarts of a counter."""
    rng = np.random.default_rng(seed)
    t = np.arange(CELLS)
    day = np.sin(2 * np.pi * t / 1440)
    counter = np.cumsum(rng.poisson(100 + 50 * day)).astype(float)
    counter[4000:] -= counter[4000]
    counter[9000:] -= counter[9000]
    values = np.stack(
        [
            5e8 + 1e8 * day + 1e4 * t + rng.normal(0, 1e6, CELLS),
            np.full(CELLS, 2e9),
            counter,
            0.02 * rng.random(CELLS),
            0.1 + 0.05 * rng.random(CELLS),
        ]
    )
    start = grid_start(1_700_000_000 * 10**9, STEP)
    times = start + (t * STEP + rng.uniform(0, 50, CELLS)).astype(np.int64) * 10**9
    index, cell = np.nonzero(rng.random(values.shape) > 0.05)
    order = np.argsort(times[cell], kind="stable")
    index, cell = index[order].astype(np.int32), cell[order]
    return start, index, times[cell], values[index, cell]


def batch_features(start: int, index: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    grid = to_grids(index, times, values, [s.kind for s in SERIES], start, STEP, CELLS)
    return features_at(grid, limits_grid(grid, SERIES), AT, context_of(SERIES))


@pytest.mark.parametrize("seed", [0, 1])
def test_stream_features_equal_batch_features(seed: int) -> None:
    start, index, times, values = telemetry(seed)
    expected = batch_features(start, index, times, values)
    store, sent = WindowStore(STEP), 0
    for k, end in enumerate(AT):
        stop = int(np.searchsorted(times, start + int(end) * STEP_NS))
        for a in range(sent, stop, 777):
            b = min(a + 777, stop)
            store.put(SampleBatch(SERIES, index[a:b], times[a:b], values[a:b]))
        sent = stop
        seen = store.snapshot(start // STEP_NS + int(end))
        assert [store.series[r].signal for r in seen.rows] == ["process.memory.usage"]
        np.testing.assert_allclose(seen.features[0], expected[0, k], rtol=0, atol=1e-9, equal_nan=True)
    assert store.tallies["resets"] == 2
    assert store.tallies["late"] == 0


def test_a_limit_that_changes_and_is_told_seldom_is_the_same_in_both() -> None:
    """A limit of no round number, raised in the middle, several samples in a cell, then silent for a day."""
    start, cells = grid_start(1_700_000_000 * 10**9, STEP), 3000
    t = np.arange(cells)
    told = np.array([0.0, 0.3, 500.1, 500.4, 900.2, 1500.0])
    limit = np.array([1e9 / 3, 1e9 / 3 + 10, 2e9 / 3, 2e9 / 3 + 7, 1e9 / 7, 1e9 / 9])
    times = start + np.concatenate([t * STEP_NS, (told * STEP_NS).astype(np.int64)])
    index = np.repeat(np.array([0, 1], np.int32), [cells, len(told)])
    values = np.concatenate([1e8 + 1e5 * t, limit])
    order = np.argsort(times, kind="stable")
    index, times, values = index[order], times[order], values[order]
    series, ends = SERIES[:2], np.array([100, 501, 900, 901, 1500, 2900])
    grid = to_grids(index, times, values, [s.kind for s in series], start, STEP, cells)
    expected = features_at(grid, limits_grid(grid, series), ends, context_of(series))[0]
    store, sent = WindowStore(STEP), 0
    for k, end in enumerate(ends):
        stop = int(np.searchsorted(times, start + (int(end) + 3) * STEP_NS))  # what is newer is there already
        part = slice(sent, stop)
        store.put(SampleBatch(series, index[part], times[part], values[part]))
        sent = stop
        np.testing.assert_allclose(
            store.snapshot(start // STEP_NS + int(end)).features[0], expected[k], rtol=0, atol=1e-9, equal_nan=True
        )


def test_no_feature_changes_when_the_future_is_altered() -> None:
    start, index, times, values = telemetry(2)
    before = batch_features(start, index, times, values)
    future = times >= start + 5000 * STEP_NS
    altered = batch_features(start, index, times, np.where(future, 7 * values + 1, values))
    np.testing.assert_array_equal(before[:, :3], altered[:, :3])
    assert not np.array_equal(before[:, 3:], altered[:, 3:], equal_nan=True)


def test_features_mean_what_their_names_say() -> None:
    start = grid_start(1_700_000_000 * 10**9, STEP)
    grid = np.arange(3000, dtype=np.float32)[None]
    limits = np.full_like(grid, 4000)
    row = dict(zip(FEATURE_NAMES, features_at(grid, limits, np.array([2000]))[0, 0], strict=True))
    assert start % (15 * STEP_NS) == 0
    assert row["ratio"] == pytest.approx(1999 / 4000)
    assert row["mean_1h"] == pytest.approx((1940 + 1999) / 2 / 4000)
    assert row["slope_6h"] == pytest.approx(60 / 4000)
    assert row["robust_slope_24h"] == pytest.approx(60 / 4000)
    assert np.expm1(row["log_steps_to_limit_1h"]) == pytest.approx(2001, rel=1e-6)
    assert row["day_diff"] == pytest.approx(1440 / 4000, abs=0.003)
    assert row["rising_1h"] == 1
    assert row["drop_24h"] == 0
    assert row["missing_24h"] == 0


def test_a_missing_stretch_is_not_a_zero() -> None:
    grid = np.full((1, 2000), 50, np.float32)
    grid[0, 1000:1900] = np.nan
    row = features_at(grid, np.full_like(grid, 100), np.array([2000]))[0, 0]
    assert row[INDEX["min_24h"]] == pytest.approx(0.5)
    assert row[INDEX["missing_24h"]] > 0.6
    empty = features_at(grid, np.full_like(grid, 100), np.array([1800]))[0, 0]
    assert np.isnan(empty[INDEX["ratio"]])

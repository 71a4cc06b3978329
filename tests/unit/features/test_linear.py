"""The quick look agrees with the features and with the line it draws."""

import numpy as np

from forewarn.features.definitions import INDEX, MAX_STEPS
from forewarn.features.linear import linear_steps_to_limit
from forewarn.features.windows import WindowStore
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
START = 1_700_000_100 // 900 * 900


def store_of(values: np.ndarray, limit: float) -> tuple[WindowStore, int]:
    """A store with one series a row and their common limit, and the end of its cells."""
    count, cells = values.shape
    series = (*(Series("a/b", "use", (("i", str(i)),)) for i in range(count)), Series("a/b", "use.limit"))
    times = (START + 60 * np.arange(cells)) * 10**9
    rows = np.vstack([values, np.full(cells, limit)])
    store = WindowStore(60)
    index = np.repeat(np.arange(count + 1, dtype=np.int32), cells)
    store.put(SampleBatch(series, index, np.tile(times, count + 1), rows.ravel()))
    return store, START // 60 + cells


def test_a_straight_line_reaches_its_limit_when_it_does() -> None:
    t = np.arange(80.0)
    store, end = store_of(np.stack([10 + t / 2, 50 - t / 2, 120 + 0 * t, np.where(t < 78, np.nan, 5), t * np.nan]), 100)
    rows, steps = linear_steps_to_limit(store, end)
    assert [store.series[r].attributes[0][1] for r in rows] == ["0", "1", "2", "3"]
    np.testing.assert_allclose(steps[0], (100 - 49.5) / 0.5, rtol=1e-6)
    assert steps[1] == np.inf
    assert steps[2] == 0
    assert np.isnan(steps[3])


def test_it_is_the_feature_of_an_hour() -> None:
    rng = np.random.default_rng(1)
    values = (
        rng.uniform(10, 60, (40, 1)) + rng.uniform(-0.1, 0.5, (40, 1)) * np.arange(200) + rng.normal(0, 1, (40, 200))
    )
    store, end = store_of(values, 200)
    seen = store.snapshot(end)
    rows, steps = linear_steps_to_limit(store, end)
    assert list(rows) == list(seen.rows)
    feature = np.expm1(seen.features[:, INDEX["log_steps_to_limit_1h"]])
    np.testing.assert_allclose(np.minimum(steps, MAX_STEPS), feature, rtol=1e-9)

"""Windows of a stream: what a batch may be, what has no samples, what a series costs."""

import numpy as np
import pytest

from forewarn.features.windows import WindowStore
from forewarn.telemetry.samples import SampleBatch, Series

START_NS = 1_700_000_100 // 900 * 900 * 10**9
STEP_NS = 60 * 10**9
USAGE, LIMIT = Series("a/b", "use"), Series("a/b", "use.limit")


def batch(series: tuple[Series, ...], cell: int, values: list[float]) -> SampleBatch:
    times = np.full(len(values), START_NS + cell * STEP_NS)
    return SampleBatch(series, np.arange(len(values), dtype=np.int32), times, np.array(values))


def test_the_same_series_are_the_same_rows_in_whatever_tuple_they_come() -> None:
    store, pair = WindowStore(60), (USAGE, LIMIT)
    store.put(batch(pair, 0, [1.0, 10.0]))
    store.put(batch(pair, 1, [2.0, 10.0]))  # the very same tuple: looked up by identity
    store.put(batch((LIMIT, USAGE), 2, [10.0, 3.0]))
    assert store.series == [USAGE, LIMIT]
    end = START_NS // STEP_NS + 3
    np.testing.assert_array_equal(store.history(np.array([0, 1]), end, 3), [[1, 2, 3], [10, 10, 10]])


def test_tuples_that_are_gone_are_not_taken_for_others() -> None:
    store = WindowStore(60)
    for i in range(500):  # a freed tuple's id is soon another's
        store.put(batch((Series("a/b", f"signal.{i}"),), 0, [float(i)]))
    last = store.history(np.arange(500), START_NS // STEP_NS + 1, 1)[:, 0]
    np.testing.assert_array_equal(last, np.arange(500))


def test_a_series_that_was_only_told_to_be_stale_is_not_predicted() -> None:
    store = WindowStore(60)
    other = Series("a/c", "use"), Series("a/c", "use.limit")
    store.put(batch((USAGE, LIMIT, *other), 0, [np.nan, 10.0, 1.0, 10.0]))
    seen = store.snapshot(START_NS // STEP_NS + 1)
    assert [store.series[r] for r in seen.rows] == [other[0]]


@pytest.mark.parametrize("count", [100, 5000])
def test_a_series_takes_less_than_eight_kibibytes(count: int) -> None:
    store = WindowStore(60)
    store.put(batch(tuple(Series("a/b", f"s{i}") for i in range(count)), 0, [1.0] * count))
    assert store.nbytes() / count < 8192

"""Windows of a stream: what a batch may be, what has no samples, what a series costs."""

import numpy as np
import pytest

from forewarn.features.windows import WindowStore
from forewarn.telemetry.samples import Kind, SampleBatch, Series

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


def sampled(store: WindowStore, series: Series, *samples: tuple[float, float]) -> None:
    """Samples of a series: (cell, value)."""
    times = np.array([START_NS + int(cell * STEP_NS) for cell, _ in samples])
    index = np.zeros(len(samples), np.int32)
    store.put(SampleBatch((series,), index, times, np.array([value for _, value in samples])))


def cells(store: WindowStore, end: int, count: int, row: int = 0) -> list[float]:
    return store.history(np.array([row]), START_NS // STEP_NS + end, count)[0].tolist()


def test_zero_absent_late_and_stale_are_four_things() -> None:
    store = WindowStore(60)
    sampled(store, USAGE, (0, 5.0), (1, 0.0), (3, 7.0))
    np.testing.assert_array_equal(cells(store, 4, 4), [5.0, 0.0, np.nan, 7.0])  # a zero is a value, a gap is none
    sampled(store, USAGE, (2, 6.0))  # late, but its cell is still open
    assert cells(store, 4, 4) == [5.0, 0.0, 6.0, 7.0]
    assert store.tallies["late"] == 0
    sampled(store, USAGE, (100, 1.0), (20, 9.0))  # too late: 80 cells, 64 are open
    assert store.tallies["late"] == 1
    sampled(store, USAGE, (101, np.nan))
    assert store.tallies["stale"] == 1
    np.testing.assert_array_equal(cells(store, 102, 2), [1.0, np.nan])


def test_a_series_that_ended_has_no_value_until_it_comes_back() -> None:
    store, pair = WindowStore(60), (USAGE, LIMIT)
    end = START_NS // STEP_NS
    store.put(batch(pair, 0, [4.0, 10.0]))
    assert store.snapshot(end + 1).values.tolist() == [4.0]
    store.put(batch(pair, 1, [np.nan, 10.0]))
    assert np.isnan(store.snapshot(end + 2).values).all()  # not 4, not 0: nothing is known of it any more
    store.put(batch(pair, 2, [3.0, 10.0]))
    assert store.snapshot(end + 3).values.tolist() == [3.0]


@pytest.mark.parametrize(
    ("kind", "samples", "rates"),
    [
        (Kind.CUMULATIVE, [(0, 100), (1, 160), (2, 220)], [np.nan, 1.0, 1.0]),
        (Kind.CUMULATIVE, [(0, 100), (1, 160), (2, 5), (3, 65)], [np.nan, 1.0, np.nan, 1.0]),  # a reset
        (Kind.CUMULATIVE, [(0, 100), (1, 160), (1, 160), (2, 220)], [np.nan, 1.0, 1.0]),  # a duplicate
        (Kind.CUMULATIVE, [(0, 100), (2, 220), (1, 160), (3, 280)], [np.nan, np.nan, 1.0, 1.0]),  # out of order
        (Kind.CUMULATIVE, [(0, 100), (1, np.nan), (2, 220), (3, 280)], [np.nan, np.nan, np.nan, 1.0]),  # ended
        (Kind.CUMULATIVE, [(0, 0), (1, 0)], [np.nan, 0.0]),  # nothing happened: zero, not absent
        (Kind.DELTA, [(0, 60), (1, 60), (2, 120)], [np.nan, 1.0, 2.0]),
        (Kind.DELTA, [(0, 60), (1, 60), (1, 60), (2, 0)], [np.nan, 1.0, 0.0]),  # a duplicate counts once
    ],
)
def test_counters_become_rates(kind: Kind, samples: list[tuple[float, float]], rates: list[float]) -> None:
    store = WindowStore(60)
    sampled(store, Series("a/b", "calls", (), kind), *samples)
    np.testing.assert_array_equal(cells(store, len(rates), len(rates)), rates)

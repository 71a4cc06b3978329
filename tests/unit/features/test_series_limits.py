"""Too many series are refused, counted and named; others do not suffer, and what has ended makes room."""

import numpy as np

from forewarn.features.series_budget import SeriesBudget
from forewarn.features.windows import WindowStore
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
START = 1_700_000_100 // 900 * 900 // 60
GOOD = Series("a/good", "use"), Series("a/good", "use.limit")


def put(store: WindowStore, series: tuple[Series, ...], cell: int, value: float = 1.0) -> None:
    times = np.full(len(series), (START + cell) * STEP_NS)
    store.put(SampleBatch(series, np.arange(len(series), dtype=np.int32), times, np.full(len(series), value)))


def attack(entity: str, first: int, count: int) -> tuple[Series, ...]:
    return tuple(Series(entity, "requests", (("user", str(i)),)) for i in range(first, first + count))


def test_a_million_label_values_of_one_entity_take_only_its_room() -> None:
    store = WindowStore(60, SeriesBudget(per_entity=500, in_all=2000))
    put(store, GOOD, 0)
    for first in range(0, 1_000_000, 20_000):
        put(store, attack("a/bad", first, 20_000), 0)
    put(store, GOOD, 1, 2.0)
    assert len(store.series) == 502
    assert store.nbytes() < 502 * 8192
    assert store.budget.refused == 999_500
    assert store.budget.worst().startswith("a/bad (999500, such as requests{user=500})")
    seen = store.snapshot(START + 2)
    assert [store.series[r] for r in seen.rows] == [GOOD[0]]
    assert seen.values.tolist() == [2.0]


def test_many_entities_share_the_room_and_the_worst_are_named() -> None:
    store = WindowStore(60, SeriesBudget(per_entity=50, in_all=1000))
    for i in range(300):
        put(store, attack(f"a/{i}", 0, 80 if i == 7 else 10), 0)
    assert len(store.series) == 1000
    assert len(store.budget.offenders) <= 100
    assert store.budget.worst(1).startswith("a/7 (30, ")


def test_series_that_ended_or_fell_silent_make_room() -> None:
    store = WindowStore(60, SeriesBudget(per_entity=100, in_all=10))
    old = attack("a/old", 0, 8)
    put(store, (*old, *GOOD), 0)
    put(store, old[:4], 1, np.nan)
    new = attack("a/new", 0, 6)
    for cell in range(2, 120):
        put(store, (*old[4:], *GOOD), cell)
        put(store, new, cell)
        store.snapshot(START + cell)
    kept = {store.series[r] for rows in store.entity_rows.values() for r in rows}
    assert kept == {*old[4:], *GOOD, *new[:4]}
    assert store.budget.used == 10
    newest = store.history(np.array(store.entity_rows["a/new"]), START + 120, 1)
    assert newest[:, 0].tolist() == [1.0] * 4
    assert len(store.snapshot(START + 120).rows) == 1  # limits are found again after rows changed hands


def test_a_limit_is_found_after_its_series_came_back_to_another_row() -> None:
    store = WindowStore(60, SeriesBudget(per_entity=100, in_all=3))
    put(store, (*GOOD, Series("a/x", "y")), 0)
    put(store, GOOD, 1, np.nan)
    for cell in range(2, 100):
        put(store, (Series("a/x", "y"), Series("a/x", "z"), *GOOD[1:]), cell)
        store.snapshot(START + cell)
    put(store, GOOD, 100, 5.0)
    assert store.budget.used == 3


def test_windows_that_are_given_up_give_back_their_room() -> None:
    budget = SeriesBudget(per_entity=5, in_all=10)
    store = WindowStore(60, budget)
    put(store, attack("a/b", 0, 5), 0)
    store.release()
    assert budget.used == 0
    put(WindowStore(60, budget), attack("a/b", 0, 5), 0)
    assert budget.used == 5

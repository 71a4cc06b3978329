"""Causes along the service graph: the user that fills a resource, the dependency whose errors or answers rise."""

import numpy as np

from forewarn.risk.origin import Nearby, callers, origins, reached
from forewarn.telemetry.samples import Kind, Series

CALLS = {"client": {"api"}, "api": {"postgres", "search"}, "batch": {"postgres"}, "search": {"index"}}
BACKENDS = Series("postgres", "postgresql.backends")
STEPS = np.arange(180, dtype=np.float64)


def _cells(*rows: np.ndarray) -> np.ndarray:
    return np.stack(rows).astype(np.float32)


def test_the_graph_is_walked_downwards_and_back_one_step() -> None:
    assert reached("client", CALLS) == {"api": 1, "postgres": 2, "search": 2, "index": 3}
    assert callers("postgres", CALLS) == ["api", "batch"]


def test_the_user_whose_use_grew_with_the_resource_is_the_cause() -> None:
    own, api, batch = 10 + STEPS / 6, np.full(180, 5.0), STEPS / 6
    nearby = Nearby(
        [Series("api", "db.client.connections.usage"), Series("batch", "db.client.connections.usage")],
        _cells(api, batch),
    )
    found = origins(BACKENDS, own.astype(np.float32), nearby, CALLS, lambda share: 0.9 * share)
    assert [(d.entity, d.signal, d.hypothesis) for d in found] == [("batch", "db.client.connections.usage", False)]
    assert found[0].contribution > 0.8  # what the deletion test says goes with it


def test_a_cause_whose_deletion_changes_nothing_is_called_a_hypothesis() -> None:
    nearby = Nearby([Series("batch", "db.client.connections.usage")], _cells(STEPS / 6))
    found = origins(BACKENDS, (10 + STEPS / 6).astype(np.float32), nearby, CALLS, lambda share: 0.01)
    assert [d.hypothesis for d in found] == [True]


def test_a_user_of_another_kind_of_thing_or_without_a_rise_is_no_cause() -> None:
    nearby = Nearby(
        [Series("batch", "process.memory.usage"), Series("api", "db.client.connections.usage")],
        _cells(STEPS, np.full(180, 5.0)),
    )
    assert origins(BACKENDS, (10 + STEPS / 6).astype(np.float32), nearby, CALLS, lambda share: share) == []


def test_of_failing_services_the_deepest_is_named() -> None:
    errors = [Series(e, "http.server.request.errors", kind=Kind.CUMULATIVE) for e in ("api", "search", "index")]
    rising = np.where(STEPS > 120, 5.0, 0.0)
    nearby = Nearby(errors, _cells(rising, rising, rising))
    ratio = Series("client", "http.client.request.error_ratio")
    found = origins(ratio, (STEPS / 1800).astype(np.float32), nearby, CALLS, lambda share: share)
    assert [(d.entity, d.signal) for d in found] == [("index", "http.server.request.errors")]


def test_errors_that_were_always_there_are_no_cause() -> None:
    nearby = Nearby([Series("index", "http.server.request.errors", kind=Kind.CUMULATIVE)], _cells(np.full(180, 3.0)))
    ratio = Series("client", "http.client.request.error_ratio")
    assert origins(ratio, (STEPS / 1800).astype(np.float32), nearby, CALLS, lambda share: share) == []


def test_errors_that_grew_as_much_as_what_is_told_are_its_cause() -> None:
    errors = Series("index", "http.server.request.errors", kind=Kind.CUMULATIVE)
    ratio = Series("index", "http.server.request.error_ratio")
    grown = (1 + 0.7 * STEPS / 180).astype(np.float32)
    found = origins(ratio, 0.02 * grown, Nearby([errors], _cells(grown)), CALLS, lambda share: share)
    assert [(d.entity, d.signal) for d in found] == [("index", "http.server.request.errors")]
    steady = origins(ratio, 0.02 * grown, Nearby([errors], _cells(np.full(180, 1.0))), CALLS, lambda share: share)
    assert steady == []


def test_of_slow_services_the_deepest_is_named_by_the_same_quantile() -> None:
    times = [
        Series(entity, f"http.server.request.duration.{quantile}", unit="s")
        for entity in ("api", "search", "index", "postgres")
        for quantile in ("p99", "p50")
    ]
    rising, steady = 0.1 + STEPS / 180, np.full(180, 0.05)
    shapes = [rising * 1.2, rising] * 3 + [steady, steady]
    waits = Series("client", "http.client.request.duration.p50", unit="s")
    cells = (0.2 + STEPS / 180).astype(np.float32)
    found = origins(waits, cells, Nearby(times, _cells(*shapes)), CALLS, lambda share: 0.8 * share)
    assert [(d.entity, d.signal) for d in found] == [("index", "http.server.request.duration.p50")]
    assert "answers slower" in found[0].text
    assert found[0].contribution > 0.5
    alone = Nearby(times[6:], _cells(steady, steady))
    assert origins(waits, cells, alone, CALLS, lambda share: share) == []

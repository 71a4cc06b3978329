"""What is derived from logs and spans, whenever it comes, changes nothing of what is predicted for limited signals."""

import numpy as np
import pytest

from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import Observation, Risk
from forewarn.risk.scorer import TrendScorer
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
START = 1_700_000_100 // 900 * 900
SERVICES = ("shop/api", "shop/database")
DERIVED = ("log.records.rate", "log.records.error_ratio", "traces.service.calls.rate", "traces.service.duration.p99")


def measured(entity: str, first: int, stop: int) -> SampleBatch:
    """Memory that leaks from step 300 on, its limit, and requests with their errors."""
    steps = np.arange(first, stop)
    memory = np.minimum(3e8 + np.maximum(steps - 300, 0) * 2e6 + 2e6 * np.sin(steps), 1e9)
    values = np.stack([memory, np.full(len(steps), 1e9), 50 + np.cos(steps), np.full(len(steps), 0.01)])
    names = ("process.memory.usage", "process.memory.usage.limit", "http.server.request.rate", "rpc.error_ratio")
    return _batch(entity, names, steps, values)


def derived(entity: str, first: int, stop: int) -> SampleBatch:
    """Signals whose names would fit roles and ratios, and whose values are wild."""
    steps = np.arange(first, stop)
    return _batch(entity, DERIVED, steps, np.random.default_rng(first).uniform(0, 1e6, (len(DERIVED), len(steps))))


def _batch(entity: str, names: tuple[str, ...], steps: np.ndarray, values: np.ndarray) -> SampleBatch:
    times = START * 10**9 + np.tile(steps * STEP_NS, len(names))
    index = np.repeat(np.arange(len(names), dtype=np.int32), len(steps))
    order = np.argsort(times, kind="stable")
    return SampleBatch(tuple(Series(entity, n) for n in names), index[order], times[order], values.ravel()[order])


def run(shift: int | None) -> tuple[list[Risk], list[Observation], list[int], list[np.ndarray]]:
    """A live stream of four steps a message; what is derived comes `shift` steps late (early if negative), or not."""
    engine, scorer = RiskEngine("shop", 60, 120, 1), TrendScorer()
    engine.calls = {"shop/api": {"shop/database"}}
    risks, observations, cells, features = [], [], [], []
    for first in range(0, 700, 4):
        for entity in SERVICES:
            if shift is not None and first - shift >= 0:
                engine.ingest(derived(entity, first - shift, first - shift + 4))
        for entity in SERVICES:
            engine.ingest(measured(entity, first, first + 4))
        for end in engine.pending():
            told, seen, snapshot, _ = engine.assess(end, scorer)
            risks += told
            observations += seen
            cells.append(end)
            features.append(snapshot.features)
    return risks, observations, cells, features


@pytest.mark.parametrize("shift", [-300, -8, 0, 3, 90])
def test_early_or_late_it_changes_nothing(shift: int) -> None:
    alone, beside = run(None), run(shift)
    assert len(alone[0]) > 2
    assert alone[2] == beside[2]
    assert alone[1] == beside[1]
    for one, other in zip(alone[3], beside[3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [(r.entity, r.predicted_at, r.probability, r.revision) for r in alone[0]] == [
        (r.entity, r.predicted_at, r.probability, r.revision) for r in beside[0]
    ]


def test_history_of_what_is_derived_does_not_stop_scoring() -> None:
    engine = RiskEngine("shop", 60, 120, 1)
    engine.ingest(measured("shop/api", 0, 4))
    engine.ingest(derived("shop/api", 0, 600))
    assert engine.pending()


def test_the_clock_of_a_namespace_without_metrics_is_what_is_derived() -> None:
    engine = RiskEngine("shop", 60, 120, 1)
    engine.ingest(derived("shop/api", 0, 10))
    assert engine.due() == START // 60 + 8


def test_a_part_of_the_namespace_with_nothing_but_what_is_derived_holds_back_no_other() -> None:
    engine, other = RiskEngine("shop", 60, 120, 1), RiskEngine("shop", 60, 120, 1)
    engine.peers = other.peers = [engine, other]
    other.ingest(derived("shop/web", 0, 3))
    engine.ingest(measured("shop/api", 0, 10))
    assert engine.due() == START // 60 + 8


def test_what_piled_up_in_a_pause_is_scored_before_it_would_be_passed_over() -> None:
    engine, scored = RiskEngine("shop", 60, 120, 1), []
    for first in range(0, 200, 4):
        batch = measured("shop/api", first, first + 4)
        if engine.passes_over(batch) or first == 0:
            for end in engine.pending():
                engine.assess(end, TrendScorer())
                scored.append(end)
        engine.ingest(batch)
        if first == 0:
            scored += engine.pending()
            engine.assess(scored[-1], TrendScorer())
    assert len(scored) > 150
    assert np.diff(scored).tolist() == [1] * (len(scored) - 1)

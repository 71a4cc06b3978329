"""A cache that fills to its memory limit and evicts is no failure; a store that refuses is."""

import numpy as np
import pytest

from forewarn.risk.engine import RiskEngine
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.records import Abstained, AbstentionCode, FailureObserved, Risk
from forewarn.telemetry.samples import Kind, SampleBatch, Series

SECOND = 1_000_000_000
USED = Series("redis", "redis.memory.used", unit="By")
LIMIT = Series("redis", "redis.memory.used.limit", unit="By")
EVICTED = Series("redis", "redis.keys.evicted", kind=Kind.CUMULATIVE, unit="{key}")
MOST = 1e7


def _told(used: np.ndarray, evicted: np.ndarray, series: tuple[Series, ...]) -> tuple[list[Risk], list[object]]:
    engine, scorer, risks, seen = RiskEngine("", 1.0, 0.0, 5), FirstDayScorer(), [], []
    for k, row in enumerate(zip(used, np.full(len(used), MOST), evicted, strict=True)):
        values = np.array(row[: len(series)])
        index = np.arange(len(series), dtype=np.int32)
        engine.ingest(SampleBatch(series, index, np.full(len(series), (k + 1) * SECOND), values))
        end = engine.due()
        if end is not None:
            told, observed, _, _ = engine.assess(end, scorer)
            risks += told
            seen += observed
    return risks, seen


def _filling(steps: int, total: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Memory that fills straight in so many steps, then stands at its limit; keys evicted since then."""
    t = np.arange(total)
    noise = np.random.default_rng(1).normal(0, 0.0005, total)
    used = np.minimum(0.05 + 0.95 * t / steps, 1.0) * MOST * (1 + noise)
    return used, np.clip(t - steps, 0, None) * 6.0


def test_a_cache_that_fills_within_its_first_steps_and_evicts_is_never_told() -> None:
    used, evicted = _filling(160)
    risks, seen = _told(used, evicted, (USED, LIMIT, EVICTED))
    assert not risks
    assert not [o for o in seen if isinstance(o, FailureObserved)]
    assert [o.code for o in seen if isinstance(o, Abstained) and o.code == AbstentionCode.EVICTION]


def test_a_store_that_counts_no_evictions_and_stands_at_its_limit_fails() -> None:
    used, evicted = _filling(160)
    risks, seen = _told(used, evicted, (USED, LIMIT))
    assert [r for r in risks if r.state == "open"]
    assert [o for o in seen if isinstance(o, FailureObserved)]


@pytest.mark.parametrize("evicts", [False, True])
def test_a_slow_fill_is_told_and_taken_back_once_the_store_evicts(evicts: bool) -> None:
    used, evicted = _filling(300, 560)
    risks, seen = _told(used, evicted * evicts, (USED, LIMIT, EVICTED))
    states = [r.state for r in risks]
    assert states[0] == "open"
    assert ("withdrawn" in states) == evicts
    assert bool([o for o in seen if isinstance(o, FailureObserved)]) != evicts

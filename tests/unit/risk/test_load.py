"""Degradation ahead: response times foretold from load, as the engine tells them."""

from functools import cache

import numpy as np

from forewarn.risk.engine import RiskEngine
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.records import Risk
from forewarn.telemetry.samples import SampleBatch, Series

STEP, EVERY = 60.0, 5
MINUTE = 60 * 1_000_000_000
LOAD = Series("shop/api", "http.server.request.rate", unit="{request}/s")
P99 = Series("shop/api", "http.server.request.duration.p99", unit="s")
LIMIT = Series("shop/api", "http.server.request.duration.p99.limit", unit="s")
CAPACITY, OBJECTIVE = 180.0, 2.0
DAY = 1440
BEGIN = 20_000 * DAY  # steps since 1970


def _load(growing: bool, seed: int = 1) -> np.ndarray:
    """Two days like each other, and a third on which, from five in the morning, ever more users come (or none more)."""
    rng = np.random.default_rng(seed)
    t = np.arange(3 * DAY)
    load = 90 - 60 * np.cos(2 * np.pi * t / DAY)
    more = np.clip(t - 2 * DAY - 300, 0, None) * (0.1 if growing else 0.0)
    return (load + more) * rng.lognormal(0, 0.02, len(t))


def _bent(load: np.ndarray, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(0.1 + 0.1 / np.maximum(1 - load / CAPACITY, 0.005), 10) * rng.lognormal(0, 0.05, len(load))


def _told(load: np.ndarray, value: np.ndarray) -> tuple[list[tuple[int, Risk]], RiskEngine]:
    """Risks with the step at which they were told, until the objective is broken."""
    engine, scorer, told = RiskEngine("shop", STEP, 0.0, EVERY), FirstDayScorer(), []
    ends = np.flatnonzero(value >= OBJECTIVE)
    last = int(ends[0]) if len(ends) else len(load)
    begin = 2 * DAY + 300  # what came before fills the windows
    for first, stop in [(0, begin), *((k, k + EVERY) for k in range(begin, last - EVERY, EVERY))]:
        times = np.repeat((BEGIN + np.arange(first, stop)) * MINUTE, 3)
        columns = np.stack([load[first:stop], value[first:stop], np.full(stop - first, OBJECTIVE)])
        engine.ingest(
            SampleBatch(
                (LOAD, P99, LIMIT), np.tile(np.arange(3, dtype=np.int32), stop - first), times, columns.T.ravel()
            )
        )
        end = engine.due()
        if end is not None:
            told += [(stop, risk) for risk in engine.assess(end, scorer)[0]]
    return told, engine


@cache
def _growing() -> tuple[tuple[tuple[int, Risk], ...], int]:
    load = _load(growing=True)
    value = _bent(load)
    return tuple(_told(load, value)[0]), int(np.flatnonzero(value >= OBJECTIVE)[0])


def test_a_breach_by_growing_load_is_told_ahead_with_the_load_as_its_cause() -> None:
    told, broken = _growing()
    step, risk = next((s, r) for s, r in told if r.state == "open")
    assert broken - step >= 30
    assert risk.mode == "latency_breach"
    cause = risk.drivers[0]
    assert (cause.entity, cause.signal, cause.hypothesis) == ("shop/api", "http.server.request.rate", False)
    assert cause.text.startswith("correlated user load: http.server.request.rate of shop/api is ")
    assert "would reach 2 s" in cause.text
    assert cause.query


def test_the_reason_is_the_share_of_the_risk_that_goes_with_the_growth_of_the_load() -> None:
    told, _ = _growing()
    first = next(r for _, r in told if r.state == "open")
    by_load = [d for d in first.drivers if d.text.startswith("correlated user load")]
    assert len(by_load) == 1
    assert 0.05 <= by_load[0].contribution <= 1
    told_from, told_to = (
        int(p.split(" %")[0].replace("<1", "0")) for p in by_load[0].text.split("falls from ")[1].split(" to ")
    )
    assert told_to < told_from
    assert abs(by_load[0].contribution - (1 - told_to / told_from)) < 0.03


def test_days_that_repeat_are_no_risk() -> None:
    load = _load(growing=False)
    assert not _told(load[: 2 * DAY + 900], _bent(load)[: 2 * DAY + 900])[0]


def test_a_response_time_that_load_does_not_bend_has_no_such_reason() -> None:
    load = _load(growing=False)[: 2 * DAY + 1100]
    value = 0.3 * np.random.default_rng(5).lognormal(0, 0.05, len(load))
    value[2 * DAY + 800 :] += np.arange(300) * 0.005  # while ever fewer call
    told, _ = _told(load, value)
    assert told
    assert not [d.text for _, risk in told for d in risk.drivers if "user load" in d.text]


def test_after_a_restart_the_same_is_foretold() -> None:
    load = _load(growing=True)[: 2 * DAY + 500]
    value = _bent(load)
    scorer = FirstDayScorer()
    _, stayed = _told(load, value)
    end = stayed.scored_cell
    fresh = RiskEngine("shop", STEP, 0.0, EVERY)
    times = np.repeat((BEGIN + np.arange(len(load))) * MINUTE, 3)
    columns = np.stack([load, value, np.full(len(load), OBJECTIVE)])
    index = np.tile(np.arange(3, dtype=np.int32), len(load))
    fresh.ingest(SampleBatch((LOAD, P99, LIMIT), index, times, columns.T.ravel()))
    again, before = fresh.assess(end, scorer)[3], stayed.assess(end, scorer)[3]
    assert before.probability[0] > 0.05
    np.testing.assert_allclose(again.survival, before.survival, rtol=1e-12)

"""The engine tells a failure ahead, once, says when it came, and is silent where it does not know."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forewarn.risk.engine import LOOK_BACK_STEPS, RiskEngine
from forewarn.risk.past import Past
from forewarn.risk.records import Abstained, FailureObserved, Observation, Recovered, Risk, encode
from forewarn.risk.scorer import TrendScorer
from forewarn.services.alerter.intake import read_record
from forewarn.telemetry import topics
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
START = 1_700_000_100 // 900 * 900 * 10**9
USAGE = Series("shop/api", "process.memory.usage", unit="By")
LIMIT = Series("shop/api", "process.memory.usage.limit", unit="By")


def batch(values: np.ndarray, first: int, limit: float = 1e9) -> SampleBatch:
    """One sample a step of the signal and its limit; NaN leaves a step out."""
    steps = np.arange(first, first + len(values))
    keep = ~np.isnan(values)
    times = np.repeat(START + steps[keep] * STEP_NS, 2)
    index = np.tile(np.array([0, 1], np.int32), keep.sum())
    both = np.stack([values[keep], np.full(keep.sum(), limit)], 1).ravel()
    return SampleBatch((USAGE, LIMIT), index, times, both)


def run(values: np.ndarray, engine: RiskEngine | None = None, first: int = 0) -> tuple[list[Risk], list[Observation]]:
    """Feed step by step, as a live stream comes."""
    engine = engine or RiskEngine("shop", 60, 0, 1)
    risks, observations = [], []
    for i in range(0, len(values), 5):
        engine.ingest(batch(values[i : i + 5], first + i))
        end = engine.due()
        if end is not None:
            told, seen, _, _ = engine.assess(end, TrendScorer())
            risks += told
            observations += seen
    return risks, observations


def at(step: int) -> datetime:
    return datetime.fromtimestamp(START / 1e9 + step * 60, UTC)


def leak(steps: int = 700, begin: int = 300, per_step: float = 2e6) -> np.ndarray:
    rng = np.random.default_rng(1)
    return 3e8 + np.maximum(np.arange(steps) - begin, 0) * per_step + rng.normal(0, 2e6, steps)


def test_a_leak_is_told_ahead_and_its_failure_is_seen() -> None:
    risks, observations = run(np.minimum(leak(), 1e9))
    failure = next(o for o in observations if isinstance(o, FailureObserved))
    assert abs((failure.at - at(650)).total_seconds()) < 600
    assert risks[0].state == "open"
    assert failure.at - risks[0].predicted_at > timedelta(hours=1)
    assert {r.episode for r in risks} == {risks[0].episode}
    assert [r.revision for r in risks] == list(range(len(risks)))
    halfway = risks[len(risks) // 2]
    expected = halfway.predicted_at + timedelta(seconds=halfway.time_to_failure.p50 or 0)
    assert abs((expected - failure.at) / (failure.at - halfway.predicted_at)) < 0.4
    assert all(r.predicted_at <= failure.at for r in risks)


@pytest.mark.parametrize("hours_well", [2, 8, 30])  # within the ramp's window, within a day, with a season
@pytest.mark.parametrize("minutes_down", [6, 40])  # less and more than a coarse cell
def test_what_failed_and_was_repaired_is_told_ahead_again(hours_well: int, minutes_down: int) -> None:
    well, down = np.full(60 * hours_well, 2e8), np.full(minutes_down, 1.05e9)
    ramp = np.linspace(2e8, 1.05e9, 120)
    values = np.concatenate([well[:120], np.full(120, 2e8), ramp, down, well, ramp, down])
    values += np.random.default_rng(3).normal(0, 1e7, len(values))
    risks, observations = run(values)
    failures = [o.at for o in observations if isinstance(o, FailureObserved)]
    opened = [r.predicted_at for r in risks if r.state == "open"]
    assert len(failures) == 2
    again = [at for at in opened if failures[0] < at < failures[1]]
    assert again and timedelta(minutes=10) < failures[1] - again[0] < timedelta(minutes=120)


def test_a_risk_says_why_and_what_to_do() -> None:
    risk = run(np.minimum(leak(), 1e9))[0][0]
    assert risk.mode == "memory_exhaustion"
    assert any("growth of" in d.text for d in risk.drivers)
    assert sum(d.contribution for d in risk.drivers) > 0.3
    assert any("of 954 MiB" in text for text in risk.evidence)
    assert any("1.3 GiB" in a.text for a in risk.actions)
    assert len(risk.forecast.future_seconds) == len(risk.forecast.p50) > 10


@pytest.mark.parametrize(
    "values",
    [
        np.full(700, 9.5e8),
        6e8 + 2e8 * np.sin(np.arange(2000) / 1440 * 2 * np.pi),
    ],
    ids=["flat and high", "daily season"],
)
def test_what_does_not_fail_is_not_told(values: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 2e6, len(values))
    assert run(values + noise)[0] == []


def test_a_sawtooth_is_known_after_its_first_teeth() -> None:
    values = 4e8 + 4e6 * (np.arange(1500) % 100) + np.random.default_rng(0).normal(0, 2e6, 1500)
    told = [r for r in run(values)[0] if r.state == "open" and r.predicted_at > at(200)]
    assert told == []


def test_too_little_history_and_missing_data_are_said() -> None:
    risks, observations = run(leak(50, begin=0, per_step=1e7))
    assert risks == []
    reasons = [o.reason for o in observations if isinstance(o, Abstained)]
    assert reasons[0].startswith("too little history")
    values = np.full(400, 5e8)
    values[300:390] = np.nan
    _, observations = run(values)
    assert [o.reason for o in observations if isinstance(o, Abstained)][1] == ""  # an hour of history is enough


def test_history_in_bulk_fills_windows_and_tells_nothing() -> None:
    values = np.minimum(leak(), 1e9)
    engine = RiskEngine("shop", 60, 0, 1)
    engine.ingest(batch(values[:600], 0))
    assert engine.due() is None
    risks, _ = run(values[600:640], engine, first=600)
    assert risks[0].predicted_at >= at(600)


def test_recovery_is_seen() -> None:
    values = np.minimum(leak(), 1e9)
    values[680:] = 3e8
    _, observations = run(np.concatenate([values, np.full(60, 3e8)]))
    recovered = next(o for o in observations if isinstance(o, Recovered))
    assert at(675) <= recovered.at <= at(690)


def test_a_restart_neither_repeats_nor_forgets() -> None:
    values = np.minimum(leak(), 1e9)
    whole, _ = run(values)
    engine = RiskEngine("shop", 60, 0, 1)
    before, _ = run(values[:550], engine)
    again = RiskEngine("shop", 60, 0, 1)
    key = (USAGE.entity, USAGE.name)
    again.restore(Past(at(550), {key: before[-1]}, {key: before[-1].predicted_at}))
    again.ingest(batch(values[:550], 0))
    assert again.due() is None
    after, observations = run(values[550:], again, first=550)
    assert {r.episode for r in after} <= {before[0].episode}
    assert len({r.risk_id for r in before + after}) == len(before) + len(after)
    assert [r.risk_id for r in before + after] == [r.risk_id for r in whole]
    assert sum(isinstance(o, FailureObserved) for o in observations) == 1


@pytest.mark.parametrize("watermark", [652, 660, 690, 698, 699, 705])
def test_failures_and_recoveries_after_the_watermark_are_not_told_again(watermark: int) -> None:
    values = np.concatenate([np.minimum(leak(), 1e9), np.full(60, 3e8)])
    values[680:] = 3e8
    whole = [o for o in run(values)[1] if isinstance(o, FailureObserved | Recovered)]
    engine, key = RiskEngine("shop", 60, 0, 1), (USAGE.entity, USAGE.name)
    risks, seen = run(values[:700], engine)
    told = [o for o in seen if isinstance(o, FailureObserved | Recovered)]
    open_risks = {} if told else {key: risks[-1]}
    again = RiskEngine("shop", 60, 0, 1)
    again.restore(Past(at(watermark), open_risks, {key: risks[-1].predicted_at}, {key: told[-1]}))
    again.ingest(batch(values[:700], 0))
    again.bulk = False
    more: list[Observation] = []
    for end in again.pending():
        more += again.assess(end, TrendScorer())[1]
    more += run(values[700:], again, first=700)[1]
    after = [o for o in more if isinstance(o, FailureObserved | Recovered)]
    assert [(type(o), o.at) for o in told + after] == [(type(o), o.at) for o in whole]


def test_a_failure_while_nobody_scored_is_told() -> None:
    values = np.concatenate([np.full(600, 3e8), np.full(20, 1e9), np.full(80, 3e8)])
    engine = RiskEngine("shop", 60, 0, 1)
    run(values[:595], engine)
    engine.ingest(batch(values[595:], 595))
    engine.bulk = False
    ends = engine.pending()
    assert len(ends) == LOOK_BACK_STEPS
    events = [o for end in ends for o in engine.assess(end, TrendScorer())[1]]
    times = [(type(o), o.at) for o in events if isinstance(o, FailureObserved | Recovered)]
    assert times == [(FailureObserved, at(600)), (Recovered, at(620))]


def test_a_part_that_is_not_read_yet_holds_the_clock() -> None:
    read, behind = RiskEngine("shop", 60, 0, 1), RiskEngine("shop", 60, 0, 1)
    read.peers = behind.peers = [read, behind]
    for i in range(20):
        behind.ingest(batch(np.full(1, 3e8), i))
    for i in range(60):
        read.ingest(batch(np.full(1, 3e8), i))
    assert read.due() == behind.due() == START // STEP_NS + 20
    behind.read_until_ns = START + 59 * STEP_NS
    assert read.due() == behind.due() == START // STEP_NS + 60


@pytest.mark.parametrize("behind", [1, 2, 7, 12])
def test_risks_told_after_the_watermark_are_not_told_again(behind: int) -> None:
    """A predictor is killed when the broker has its risks and not yet the watermark."""
    values, key = np.minimum(leak(), 1e9), (USAGE.entity, USAGE.name)
    whole, _ = run(values)
    last = whole[len(whole) // 2]
    stop = round((last.predicted_at - at(0)) / timedelta(minutes=1))
    again = RiskEngine("shop", 60, 0, 1)
    again.restore(Past(at(stop - behind), {key: last}, {key: last.predicted_at}))
    again.ingest(batch(values[:stop], 0))
    again.bulk = False
    assert [r for end in again.pending() for r in again.assess(end, TrendScorer())[0]] == []
    after, _ = run(values[stop:], again, first=stop)
    assert [r.risk_id for r in after] == [r.risk_id for r in whole[len(whole) // 2 + 1 :]]


def test_a_failure_with_an_infinite_value_can_be_read_by_whoever_gets_it() -> None:
    values = np.full(100, 3e8)
    values[80] = np.inf
    failure = next(o for o in run(values)[1] if isinstance(o, FailureObserved))
    assert read_record(topics.OBSERVATIONS, encode(failure)) == failure
    assert (failure.at, failure.value, failure.limit) == (at(80), np.finfo(np.float64).max, 1e9)

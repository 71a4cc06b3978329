"""A level that steps up with a restart is noted once and is no trend; what leaks after it is told all the same."""

import numpy as np
import pytest

from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import Abstained, FailureObserved, Observation, Risk
from forewarn.risk.regime import SILENT_STEPS, level_steps, restarts, steps_left
from forewarn.risk.scorer import TrendScorer
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
FIRST = 1_700_000_100 // 900 * 15  # cell of the first sample
SERIES = (
    Series("shop/api", "process.memory.usage", unit="By"),
    Series("shop/api", "process.memory.usage.limit", unit="By"),
    Series("shop/api", "process.uptime", unit="s"),
)
STEPS = np.arange(600)


def levels(*parts: tuple[int, float], noise: float = 3e6) -> np.ndarray:
    """Levels from these steps on, with noise."""
    values = np.zeros(len(STEPS))
    for begin, level in parts:
        values[begin:] = level
    return values + np.random.default_rng(0).normal(0, noise, len(STEPS))


def run(
    values: np.ndarray, deploys: tuple[int, ...], engine: RiskEngine | None = None, first: int = 0
) -> tuple[list[tuple[int, Risk]], list[tuple[int, Observation]]]:
    """Feed every step from `first` on, NaN as nothing; risks and observations with the step after which they came."""
    engine = engine or RiskEngine("shop", 60, 0, 1)
    begun = np.maximum.accumulate(np.where(np.isin(STEPS, deploys), STEPS, -500))
    risks, seen = [], []
    for i in STEPS[first:].tolist():
        if not np.isnan(values[i]):
            now = np.array([values[i], 1e9, (i - begun[i]) * 60.0])
            engine.ingest(SampleBatch(SERIES, np.arange(3, dtype=np.int32), np.full(3, (FIRST + i) * STEP_NS), now))
        end = engine.due()
        if end is not None and end > engine.scored_cell:
            told, observed, _, _ = engine.assess(end, TrendScorer())
            risks += [(end - FIRST, r) for r in told]
            seen += [(end - FIRST, o) for o in observed]
    return risks, seen


def notes(observations: list[tuple[int, Observation]]) -> list[tuple[int, str, str]]:
    """What is said about silence after the first hour: step, code, sentence."""
    return [(i, o.code, o.reason) for i, o in observations if isinstance(o, Abstained) and i > 60]


def test_deploys_that_step_up_are_noted_once_each_and_not_told() -> None:
    parts = (0, 3e8), (200, 3.9e8), (270, 4.8e8), (340, 5.7e8), (410, 6.6e8), (480, 7.5e8)
    deploys = tuple(begin for begin, _ in parts[1:])
    assert run(levels(*parts), ())[0], "without the restarts it looks like a staircase to the limit"
    risks, observations = run(levels(*parts), deploys)
    assert risks == []
    said = notes(observations)
    assert [code for _, code, _ in said] == ["regime_change", ""] * len(deploys)
    assert "changed by +9 % of its limit with the restart at " in said[0][2]
    assert said[0][2].endswith(f"watched anew for {SILENT_STEPS} steps")
    for deploy, (told, _, _), (over, _, _) in zip(deploys, said[::2], said[1::2], strict=True):
        assert deploy < told <= deploy + 6
        assert over == deploy + SILENT_STEPS + 1


@pytest.mark.parametrize(("level", "per_step"), [(4e8, 3e6), (6e8, 2e6), (6e8, 8e6)], ids=["level", "stepped", "fast"])
def test_a_leak_that_a_deploy_brings_is_told_as_early_as_without_the_step(level: float, per_step: float) -> None:
    grown = np.maximum(STEPS - 300, 0) * per_step
    values = np.minimum(levels((0, 4e8), (300, level)) + grown, 1e9)
    risks, observations = run(values, (300,))
    blind, _ = run(values, ())
    failed = next(i for i, o in observations if isinstance(o, FailureObserved))
    assert risks[0][1].state == "open"
    assert risks[0][0] <= min(blind[0][0], failed - 12)


def test_what_is_near_its_limit_after_a_deploy_is_never_silenced() -> None:
    _, observations = run(levels((0, 6e8), (300, 9.3e8)), (300,))
    assert notes(observations) == []


def test_a_level_that_returns_gives_the_old_baseline_back() -> None:
    values = levels((0, 4e8), (300, 7e8), (312, 4e8))
    risks, observations = run(values, (300,))
    (told, code, _), (withdrawn, nothing, _) = notes(observations)
    assert (code, nothing) == ("regime_change", "")
    assert told < 312 < withdrawn < 300 + SILENT_STEPS
    assert risks == []
    engine = RiskEngine("shop", 60, 0, 1)
    run(values, (300,), engine)
    seen = engine.windows.snapshot(FIRST + 600)
    again = engine._regimes.read(seen, FIRST + 600).features[0]
    assert np.isfinite(again).sum() == np.isfinite(seen.features[0]).sum()
    assert run(levels((0, 4e8), (300, 7e8), (400, 4e8)), (300,))[0] == []


def test_a_level_that_falls_with_a_restart_keeps_its_past() -> None:
    values = 3e8 + 3e6 * (STEPS % 120) + np.random.default_rng(0).normal(0, 3e6, len(STEPS))
    _, observations = run(values, tuple(range(120, 600, 120)))
    assert notes(observations) == []


def test_a_missing_stretch_is_not_a_zero() -> None:
    values = levels((0, 6e8))
    values[300:340] = np.nan
    engine = RiskEngine("shop", 60, 0, 1)
    risks, observations = run(values, (), engine)
    cells = engine.windows.history(np.array([0]), FIRST + 345, 50)[0]
    assert np.isnan(cells[5:45]).all()
    assert risks == []
    assert all(not isinstance(o, FailureObserved) for _, o in observations)
    values[300:] = np.minimum(6e8 + np.maximum(STEPS[300:] - 340, 0) * 4e6, 1e9)
    values[300:340] = np.nan
    assert run(values, ())[0], "what rises after a gap is still told"


def test_a_crash_loop_is_evidence_and_names_a_reason() -> None:
    values = np.minimum(levels((0, 3e8)) + np.maximum(STEPS - 300, 0) * 4e6, 1e9)
    looping, once = run(values, (330, 337, 344))[0][0][1], run(values, (330,))[0][0][1]
    assert "restarted 3 times in the last 60 min" in looping.evidence
    assert not any("restarted" in text for text in once.evidence)
    values = levels((0, 3e8))
    values[400:460][np.arange(60) % 3 != 0] = np.nan
    _, observations = run(values, (403, 421, 439))
    assert "counter_reset" in [code for _, code, _ in notes(observations)]


def test_late_data_are_told_from_none() -> None:
    engine = RiskEngine("shop", 60, 0, 1)
    clock = Series("shop/db", "system.cpu.utilization")
    codes = []
    for i in range(200):
        behind = i if i < 100 else max(i - 20, 99)
        at, name = (FIRST + behind) * STEP_NS, np.arange(2, dtype=np.int32)
        engine.ingest(SampleBatch((clock,), name[:1], np.array([(FIRST + i) * STEP_NS]), np.array([0.5])))
        engine.ingest(SampleBatch(SERIES[:2], name, np.full(2, at), np.array([5e8, 1e9])))
        end = engine.due()
        if end is not None and end > engine.scored_cell:
            codes += [o.code for o in engine.assess(end, TrendScorer())[1] if isinstance(o, Abstained)]
    assert codes == ["too_little_history", "", "no_data", "late_data"]


def test_a_restart_is_seen_across_a_gap_and_in_a_start_time() -> None:
    uptime = np.array([[60, 120, np.nan, np.nan, 30, 90], [60, 120, 180, 240, 300, 360]], np.float32)
    started = np.array([[1000, 1000, np.nan, 1000, 5000, 5000]], np.float32)
    rows, columns = restarts(uptime, started)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 4), (2, 4)]


def test_a_step_is_measured_at_its_edge() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (3, 42))
    before = np.stack([np.full(30, 40.0), 10 + np.arange(30.0), np.full(30, 40.0)]) + noise[:, :30]
    after = np.stack([np.full(12, 60.0), 60 + 2 * np.arange(12.0), np.full(12, 41.0)]) + noise[:, 30:]
    _, rise, _ = level_steps(before.astype(np.float32), after.astype(np.float32), np.full(3, 100.0))
    assert rise[0] == pytest.approx(20, abs=2)
    assert rise[1] in (0.0, pytest.approx(20, abs=5))  # a ramp's own spread may hide it
    assert rise[2] == 0
    assert steps_left((60 + noise[:1, :30]).astype(np.float32), np.full(1, 100.0))[0] == np.inf
    rising = (60 + np.arange(30) + noise[:1, :30]).astype(np.float32)
    assert steps_left(rising, np.full(1, 100.0))[0] == pytest.approx(11, abs=3)

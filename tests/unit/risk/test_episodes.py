"""A risk is told, told again while it is expected, and taken back when it is not, also after a restart."""

from datetime import UTC, datetime

import numpy as np

from forewarn.risk.engine import RiskEngine
from forewarn.risk.episodes import CONFIRM, WITHDRAW, Episode, step
from forewarn.risk.past import Past
from forewarn.risk.records import Risk
from forewarn.risk.scorer import TrendScorer
from forewarn.telemetry.samples import SampleBatch, Series

THRESHOLD = 0.5
USAGE = Series("shop/api", "process.memory.usage", unit="By")
LIMIT = Series("shop/api", "process.memory.usage.limit", unit="By")
START = 1_700_000_100 // 900 * 900
STEP = 60


def told(probabilities: list[float], fails_at: int = 61) -> list[tuple[int, str]]:
    """Cell and state of all that is told, one scoring a cell, while the failure is foretold for the same cell."""
    episode, said = Episode(), []
    for cell, probability in enumerate(probabilities):
        episode, state = step(episode, cell, probability, fails_at - cell, THRESHOLD)
        if state:
            said.append((cell, state))
    return said


def test_a_risk_opens_is_told_again_and_withdrawn() -> None:
    said = told([0.9] * 40 + [0.01] * WITHDRAW)
    assert said == [(CONFIRM - 1, "open"), (31, "update"), (39 + WITHDRAW, "withdrawn")]


def test_what_is_not_expected_any_more_is_not_told_again() -> None:
    """The half of the time that was left at the telling passes while the probability is low."""
    assert told([0.9] * 30 + [0.01] * (WITHDRAW - 1))[1:] == []


def test_what_is_still_possible_is_told_again() -> None:
    assert (31, "update") in told([0.9] * 30 + [0.3] * 10)


def test_a_risk_that_came_to_nothing_is_taken_back_after_a_restart() -> None:
    """The leak was mended while nobody looked: nothing is said about a time any more, but that it is over."""
    rng = np.random.default_rng(0)
    leak = 3e8 + np.maximum(np.arange(500) - 300, 0) * 2e6 + rng.normal(0, 1e6, 500)
    mended = np.concatenate([leak, np.full(60, 3e8) + rng.normal(0, 1e6, 60)])
    before = _risks(RiskEngine("shop", STEP, 0, 1), leak, 0)
    again = RiskEngine("shop", STEP, 0, 1)
    key = (USAGE.entity, USAGE.name)
    last = max((r for r in before), key=lambda r: r.predicted_at)
    again.restore(Past(datetime.fromtimestamp(START + 500 * STEP, UTC), {key: last}, {key: last.predicted_at}))
    again.ingest(_batch(mended[:540], 0))
    after = _risks(again, mended[540:], 540)
    assert [r.state for r in after] == ["withdrawn"]
    assert after[0].episode == last.episode


def _risks(engine: RiskEngine, values: np.ndarray, first: int) -> list[Risk]:
    risks: list[Risk] = []
    for i in range(len(values)):
        engine.ingest(_batch(values[i : i + 1], first + i))
        end = engine.due()
        if end is not None:
            risks += engine.assess(end, TrendScorer())[0]
    return risks


def _batch(values: np.ndarray, first: int) -> SampleBatch:
    times = np.repeat((START + np.arange(first, first + len(values)) * STEP) * 10**9, 2)
    index = np.tile(np.array([0, 1], np.int32), len(values))
    return SampleBatch((USAGE, LIMIT), index, times, np.stack([values, np.full(len(values), 1e9)], 1).ravel())

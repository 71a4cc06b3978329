"""Smoke test: degradations reach the limit, the copy is all that is touched, broken models are noticed."""

from dataclasses import dataclass

import numpy as np
import pytest

from forewarn.evaluation.smoke import DEGRADATIONS, Degradation, summarised, trials, works
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.scorer import TrendScorer
from forewarn.telemetry.samples import Series

CELLS = 2160


def stream(fails_at: int = 0) -> tuple[list[Series], np.ndarray, np.ndarray]:
    """Two services: memory and connections with limits, noisy and healthy."""
    series = [Series(f"web/s{k}", name) for k in range(2) for name in ("process.memory.usage", "connection.count")]
    cells = np.random.default_rng(0).normal(0.4, 0.004, (4, CELLS)).astype(np.float32)
    if fails_at:
        cells[0, fails_at:] = 1.2
    return series, cells, np.ones_like(cells)


@dataclass(frozen=True)
class Mute:
    """A scorer that never says anything."""

    version: str = "mute"
    threshold: float = 0.5

    def survival(self, features: np.ndarray) -> np.ndarray:
        """Nothing ever fails."""
        return np.ones((len(features), len(HORIZON_STEPS)))

    def quantiles(self, features: np.ndarray) -> np.ndarray:
        """Some time or other."""
        return np.tile([10.0, 60.0, 200.0], (len(features), 1))


@pytest.mark.parametrize("kind", DEGRADATIONS, ids=lambda kind: kind.kind)
def test_each_shape_begins_low_and_ends_at_the_limit(kind: Degradation) -> None:
    progress = np.linspace(0, 1, 200)
    shape = kind.shape(progress)
    assert shape[0] == 0 and shape[-1] == pytest.approx(1) and (np.diff(shape) >= 0).all()


def test_the_trend_sees_leaks_in_time_and_the_stream_stays_as_it_was() -> None:
    series, cells, limits = stream()
    before = cells.copy()
    found = trials(TrendScorer(), series, cells, limits, seed=1)
    assert np.array_equal(cells, before)
    leaks = [t for t in found if t.kind == "leak"]
    assert {t.entity for t in found} == {"web/s0", "web/s1"} and len(leaks) >= 4
    assert np.mean([t.detected for t in leaks]) >= 0.7
    assert all(5 <= t.lead_steps <= 480 for t in found if t.detected)
    rows = summarised(found)
    assert sum(s.injected for s in rows) == len(found)


def test_a_mute_model_sees_nothing_and_is_noticed_in_its_first_run() -> None:
    found = trials(Mute(), *stream(), seed=1)
    runs = [(len(found), sum(t.detected for t in found))]
    assert runs[0][0] >= 10 and runs[0][1] == 0
    verdict = works(runs, before=(0, 0))
    assert not verdict.works and "less than 50%" in verdict.reason


def test_what_fails_by_itself_tells_nothing() -> None:
    series, cells, limits = stream(fails_at=100)
    assert not [t for t in trials(TrendScorer(), series, cells, limits, 1) if t.entity == "web/s0" and t.kind == "leak"]


def test_a_model_that_has_grown_a_little_deaf_is_noticed_after_some_runs_and_a_healthy_one_never() -> None:
    """18 degradations a run: 85 % were seen before; a model that sees 72 % is noticed, one with 85 % is not."""
    before, deaf, healthy = (180, 153), (18, 13), (18, 15)
    assert works([deaf], before).works
    after = next(k for k in range(1, 30) if not works([deaf] * k, before).works)
    assert 2 <= after <= 8
    assert all(works([healthy] * k, before).works for k in range(1, 60))


def test_without_a_stretch_to_try_in_nothing_is_said_against_the_model() -> None:
    assert works([(0, 0)], before=(100, 90)).works

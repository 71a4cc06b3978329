"""Risks tested together come out as if each had been tested alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from forewarn.features.batch import features_at
from forewarn.risk.deletion import delete
from forewarn.risk.drivers import COLUMNS, companions
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.narrative import raise_limit, slow_down
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, TrendScorer, score
from forewarn.telemetry.samples import Series


def _leaks(count: int) -> np.ndarray:
    rng, steps = np.random.default_rng(4), np.arange(400)
    speed = np.linspace(0.2, 0.6, count)[:, None]
    grid = (0.3 + speed * steps / 400 + rng.normal(0, 0.003, (count, 400))).astype(np.float32)
    return features_at(grid, np.ones_like(grid), np.array([400]))[:, 0]


class _Counting:
    """A scorer that counts how often it is asked."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self.calls = scorer, 0
        self.version, self.threshold = scorer.version, scorer.threshold

    def survival(self, features: np.ndarray) -> np.ndarray:
        self.calls += 1
        return self._scorer.survival(features)

    def quantiles(self, features: np.ndarray) -> np.ndarray:
        return self._scorer.quantiles(features)


@pytest.mark.parametrize("scorer", [FirstDayScorer(), TrendScorer()], ids=["first day", "trend"])
def test_together_is_as_alone_and_asks_once(scorer: Scorer) -> None:
    features, counting = _leaks(7), _Counting(scorer)
    probability = score(scorer, features).probability
    rises: Sequence[Sequence[float]] = [[], [0.5], [], [0.9, 1.0], [], [], [0.7]]
    all_at_once = delete(features, probability, rises, counting)
    assert counting.calls == 1
    raised = score(scorer, raise_limit(features))
    np.testing.assert_allclose(all_at_once.raised.survival, raised.survival, rtol=1e-12)
    np.testing.assert_allclose(all_at_once.raised.quantiles, raised.quantiles, rtol=1e-12)
    for i, shares in enumerate(rises):
        assert all_at_once.slowed[i] == pytest.approx([_gone(scorer, features[i], s) for s in shares])
        alone = [_without(scorer, features[i], columns) for columns in COLUMNS.values()]
        np.testing.assert_allclose(all_at_once.without[i], alone, rtol=1e-9, atol=1e-12)
    assert all_at_once.without.max() > 0.5  # something was taken away


def _gone(scorer: Scorer, row: np.ndarray, share: float) -> float:
    before = 1 - scorer.survival(row[None])[0, PAGING_HORIZON]
    after = 1 - scorer.survival(slow_down(row[None], share))[0, PAGING_HORIZON]
    return float(np.clip(1 - after / before, 0, 1))


def _without(scorer: Scorer, row: np.ndarray, columns: list[int]) -> float:
    less = row.copy()
    less[columns] = np.nan
    risk = 1 - scorer.survival(np.stack([row, less]))[:, PAGING_HORIZON]
    return float((risk[0] - risk[1]) / max(risk[0], 1e-9))


def test_companions_are_found_among_gaps_and_flat_lines() -> None:
    rng, steps = np.random.default_rng(1), np.arange(180)
    target = (10 + steps / 6).astype(np.float32)
    moved, gaps, flat, noise = 5 + steps / 9, 5 + steps / 9, np.full(180, 7.0), rng.normal(10, 0.1, 180)
    gaps[::3] = np.nan
    others = np.stack([moved, gaps, flat, noise, np.full(180, np.nan)]).astype(np.float32)
    series = [Series("shop/api", name) for name in ("moved", "gaps", "flat", "noise", "empty")]
    found = companions(target, others, series)
    assert {d.signal for d in found} == {"moved", "gaps"}
    assert all(d.hypothesis for d in found)
    expected = others[0, -30:].mean() / others[0, :30].mean() - 1
    assert f"rose by {expected * 100:.0f} %" in next(d.text for d in found if d.signal == "moved")

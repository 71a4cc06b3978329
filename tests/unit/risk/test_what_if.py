"""What raising the limit would change: computed, with its uncertainty, and said only where it helps."""

import numpy as np

from forewarn.features.batch import features_at
from forewarn.risk.drivers import Subject, companions
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.narrative import actions_of, raise_limit, slow_down
from forewarn.risk.scorer import PAGING_HORIZON, score
from forewarn.telemetry.samples import Series

POOL = Series("shop/db", "db.client.connections.usage")


def _features(y: np.ndarray) -> np.ndarray:
    grid = y.astype(np.float32)[None]
    return features_at(grid, np.ones_like(grid), np.array([len(y)]))[:, 0]


LEAK = _features(0.3 + 0.5 * np.arange(400) / 400 + np.random.default_rng(0).normal(0, 0.002, 400))


def test_the_breach_moves_by_a_computed_time() -> None:
    scorer = FirstDayScorer()
    subject = Subject(POOL, LEAK[0], 80.0, 100.0)
    texts = [a.text for a in actions_of(subject, score(scorer, LEAK), score(scorer, raise_limit(LEAK)), 60.0)]
    raised = next(text for text in texts if "140" in text)
    assert "the breach moves from" in raised
    assert "its probability within 6 h falls from" in raised


def test_taking_the_rise_away_takes_the_risk_away() -> None:
    scorer = FirstDayScorer()
    risk = [1 - scorer.survival(slow_down(LEAK, share))[0, PAGING_HORIZON] for share in (0.0, 0.5, 1.0)]
    assert risk[0] > 0.5
    assert risk[0] > risk[1] > risk[2]
    assert risk[2] < 0.1


def test_a_clock_is_no_companion() -> None:
    rise = np.linspace(1, 2, 180, dtype=np.float32)
    others = np.stack([rise, rise])
    series = [Series("shop/db", "process.uptime"), Series("shop/api", "http.server.active_requests")]
    assert [d.signal for d in companions(rise, others, series)] == ["http.server.active_requests"]

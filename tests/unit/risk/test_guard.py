"""A batch is always scored, by one model alone; what fails is told."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from forewarn.features.definitions import FEATURE_COUNT, HORIZON_STEPS
from forewarn.risk.guard import GuardedScorer
from forewarn.risk.scorer import Scorer, TrendScorer, score

FEATURES = np.zeros((4, FEATURE_COUNT))


@dataclass
class Model:
    """Answers `survival` and `quantiles`, and raises from the call numbers on that are named."""

    version: str
    survives: float = 0.5
    steps: float = 10.0
    survival_raises_at: int = 99
    quantiles_raise_at: int = 99
    threshold: float = 0.4
    calls: list[str] = field(default_factory=list)

    def survival(self, features: np.ndarray) -> np.ndarray:
        self.calls.append("survival")
        if self.calls.count("survival") >= self.survival_raises_at:
            raise ValueError("no survival")
        return np.full((len(features), len(HORIZON_STEPS)), self.survives)

    def quantiles(self, features: np.ndarray) -> np.ndarray:
        self.calls.append("quantiles")
        if self.calls.count("quantiles") >= self.quantiles_raise_at:
            raise ValueError("no quantiles")
        return np.full((len(features), 3), self.steps)


class Guarded:
    def __init__(self, *models: Scorer) -> None:
        self.failures: list[tuple[str, str]] = []
        self.batches: list[tuple[str, int]] = []
        self.scorer = GuardedScorer(
            models,
            lambda scorer, error: self.failures.append((scorer.version, str(error))),
            lambda scorer, rows, seconds: self.batches.append((scorer.version, rows)),
        )


def test_a_model_that_answers_is_the_only_one_asked() -> None:
    model, other = Model("new", 0.2, 7.0), Model("old")
    guarded = Guarded(model, other)
    scores = score(guarded.scorer, FEATURES)
    assert (scores.survival == 0.2).all()
    assert (scores.quantiles == 7.0).all()
    assert model.calls == ["survival", "quantiles"]  # each was computed once
    assert (other.calls, guarded.failures) == ([], [])
    assert (guarded.scorer.version, guarded.batches) == ("new", [("new", 4)])


@pytest.mark.parametrize(
    "broken",
    [
        Model("new", survival_raises_at=1),
        Model("new", 0.1, quantiles_raise_at=1),
        Model("new", np.nan),
        Model("new", 0.1, np.inf),
        Model("new", 1.5),
        Model("new", -0.5),
    ],
    ids=["survival", "quantiles", "nan", "never", "above", "below"],
)
def test_a_batch_is_scored_by_one_model_alone(broken: Model) -> None:
    guarded = Guarded(broken, Model("old", 0.9, 3.0, threshold=0.6))
    scores = score(guarded.scorer, FEATURES)
    assert (scores.survival == 0.9).all()
    assert (scores.quantiles == 3.0).all()
    assert (guarded.scorer.version, guarded.scorer.threshold) == ("old", 0.6)
    assert [version for version, _ in guarded.failures] == ["new"]
    assert guarded.batches == [("old", 4)]


def test_a_model_that_fails_on_the_reasons_still_names_the_batch() -> None:
    guarded = Guarded(Model("new", 0.1, survival_raises_at=2), Model("old", 0.9))
    assert (score(guarded.scorer, FEATURES).survival == 0.1).all()
    assert (guarded.scorer.survival(FEATURES[:1]) == 0.9).all()
    assert guarded.scorer.version == "new"
    assert guarded.scorer.answering.version == "old"
    assert guarded.failures == [("new", "no survival")]


def test_the_last_model_is_not_judged_and_its_errors_are_raised() -> None:
    guarded = Guarded(Model("a", np.nan), Model("b", survival_raises_at=1), TrendScorer())
    assert score(guarded.scorer, np.full((2, FEATURE_COUNT), np.nan)).survival.shape == (2, len(HORIZON_STEPS))
    assert [version for version, _ in guarded.failures] == ["a", "b"]
    with pytest.raises(ValueError, match="no survival"):
        score(Guarded(Model("only", survival_raises_at=1)).scorer, FEATURES)

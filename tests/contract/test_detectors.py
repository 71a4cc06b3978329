"""What every anomaly detector promises, whichever it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forewarn.detection.detector import AnomalyDetector
from forewarn.detection.isolation_forest import IsolationForestDetector

DETECTORS: list[Callable[[], AnomalyDetector]] = [IsolationForestDetector]


def usual(n: int, seed: int) -> np.ndarray:
    """Correlated rows, a few values missing."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    X = common + 0.3 * rng.normal(size=(n, 6))
    X[rng.random(X.shape) < 0.02] = np.nan
    return X


@pytest.fixture(params=DETECTORS, ids=lambda d: d.__name__)
def detector(request: pytest.FixtureRequest) -> AnomalyDetector:
    """Each detector, learned on usual rows."""
    made: AnomalyDetector = request.param()
    made.learn(usual(3000, 1))
    return made


def test_is_a_detector(detector: AnomalyDetector) -> None:
    assert isinstance(detector, AnomalyDetector)


def test_unusual_rows_score_higher(detector: AnomalyDetector) -> None:
    odd = usual(200, 2) + 6.0
    assert np.median(detector.score(odd)) > np.quantile(detector.score(usual(500, 3)), 0.95)


def test_p_values_of_usual_rows_are_uniform(detector: AnomalyDetector) -> None:
    p = detector.p_value(detector.score(usual(2000, 4)))
    assert ((p > 0) & (p <= 1)).all()
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() == pytest.approx(level, abs=0.6 * level + 0.01)


def test_p_value_falls_as_the_score_grows(detector: AnomalyDetector) -> None:
    scores = np.sort(detector.score(usual(300, 5)))
    assert (np.diff(detector.p_value(scores)) <= 0).all()


def test_missing_values_alone_are_not_unusual(detector: AnomalyDetector) -> None:
    p = detector.p_value(detector.score(np.full((1, 6), np.nan)))
    assert p[0] > 0.05


def test_no_rows_no_scores(detector: AnomalyDetector) -> None:
    assert detector.score(np.empty((0, 6))).shape == (0,)


def test_saved_detector_says_the_same(detector: AnomalyDetector, tmp_path: Path) -> None:
    X = usual(100, 6)
    detector.save(tmp_path)
    loaded = type(detector).load(tmp_path)
    np.testing.assert_allclose(loaded.score(X), detector.score(X))
    np.testing.assert_allclose(loaded.p_value(loaded.score(X)), detector.p_value(detector.score(X)))


@pytest.mark.parametrize("make", DETECTORS)
def test_before_learning_it_says_so(make: Callable[[], AnomalyDetector]) -> None:
    with pytest.raises(RuntimeError, match="learn"):
        make().score(usual(3, 0))
    with pytest.raises(ValueError, match="too few"):
        make().learn(np.empty((0, 6)))

"""What every anomaly detector promises, whichever it is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forewarn.detection.detector import AnomalyDetector, ExplainingDetector
from forewarn.detection.ensemble import DetectorEnsemble
from forewarn.detection.forecast_error import AutoregressionDetector, PolynomialDetector
from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.detection.networks import LstmAutoencoderDetector, TcnDetector
from forewarn.detection.principal_components import PrincipalComponentsDetector

DETECTORS: list[Callable[[], AnomalyDetector]] = [
    IsolationForestDetector,
    PrincipalComponentsDetector,
    AutoregressionDetector,
    PolynomialDetector,
    partial(DetectorEnsemble, ("autoregression", "principal_components")),
    partial(LstmAutoencoderDetector, steps=120, hidden=12, window=8),
    partial(TcnDetector, steps=120, hidden=12, window=8),
]


def name_of(make: Callable[[], AnomalyDetector]) -> str:
    return type(make()).__name__


def usual(n: int, seed: int) -> np.ndarray:
    """Correlated rows, a few values missing."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    X = common + 0.3 * rng.normal(size=(n, 6))
    X[rng.random(X.shape) < 0.02] = np.nan
    return X


@pytest.fixture(scope="module", params=DETECTORS, ids=name_of)
def detector(request: pytest.FixtureRequest) -> AnomalyDetector:
    """Each detector, learned on usual rows."""
    made: AnomalyDetector = request.param()
    made.learn(usual(3000, 1))
    return made


def test_is_a_detector(detector: AnomalyDetector) -> None:
    assert isinstance(detector, AnomalyDetector)


def test_unusual_rows_score_higher(detector: AnomalyDetector) -> None:
    X = usual(700, 3)
    X[500:530] += 6.0 * np.array([1, -1, 1, 1, -1, 1])
    scores = detector.score(X)
    assert np.median(scores[500:520]) > np.quantile(scores[100:500], 0.99)


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


@pytest.mark.parametrize("make", DETECTORS, ids=name_of)
def test_before_learning_it_says_so(make: Callable[[], AnomalyDetector]) -> None:
    with pytest.raises(RuntimeError, match="learn"):
        make().score(usual(3, 0))
    with pytest.raises(ValueError, match="too few"):
        make().learn(np.empty((0, 6)))


def test_no_score_knows_what_follows(detector: AnomalyDetector) -> None:
    X = usual(400, 7)
    other_future = X.copy()
    other_future[250:] = usual(150, 8) * 20
    np.testing.assert_allclose(detector.score(other_future)[:250], detector.score(X)[:250], rtol=1e-9)
    assert not np.allclose(detector.score(other_future)[250:], detector.score(X)[250:])


def test_what_lies_before_the_context_does_not_matter(detector: AnomalyDetector) -> None:
    X = usual(detector.context + 300, 9)
    whole, last = detector.score(X)[-1], detector.score(X[-detector.context - 1 :])[-1]
    assert last == pytest.approx(whole, rel=1e-2)


def test_a_detector_without_context_does_not_mind_the_order(detector: AnomalyDetector) -> None:
    if detector.context:
        pytest.skip("judges rows in time order")
    X, order = usual(200, 10), np.random.default_rng(0).permutation(200)
    np.testing.assert_allclose(detector.score(X[order]), detector.score(X)[order])


def test_contributions_sum_to_the_score_and_name_the_column(detector: AnomalyDetector) -> None:
    if not isinstance(detector, ExplainingDetector):
        pytest.skip("does not tell columns apart")
    X = np.nan_to_num(usual(300, 11))
    X[-1, 4] += 8.0
    parts = detector.contributions(X)
    np.testing.assert_allclose(parts.sum(axis=1), detector.score(X))
    assert parts[-1].argmax() == 4


@pytest.mark.parametrize("make", DETECTORS, ids=name_of)
def test_what_stood_still_and_what_was_never_there_break_nothing(make: Callable[[], AnomalyDetector]) -> None:
    X, detector = usual(200, 12), make()
    X[:, 0], X[:, 1] = 3.0, np.nan
    detector.learn(X)
    assert np.isfinite(detector.score(X)).all()
    X[-1, :2] = 4.0
    assert np.isfinite(detector.score(X)).all()

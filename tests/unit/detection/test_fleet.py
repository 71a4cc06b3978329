"""Scores of a fleet, row by row, are those of each detector over all rows."""

import numpy as np
import pytest

from forewarn.detection.fleet import FleetAutoregression
from forewarn.detection.forecast_error import AutoregressionDetector


def entity(seed: int, n: int) -> np.ndarray:
    """A random walk with a still channel and gaps."""
    rng = np.random.default_rng(seed)
    X = np.cumsum(rng.normal(size=(n, 4)), axis=0) + 50 * seed
    X[:, 3] = 7.0
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def test_step_by_step_equals_at_once() -> None:
    detectors = [AutoregressionDetector() for _ in range(3)]
    for seed, detector in enumerate(detectors):
        detector.learn(entity(seed, 800))
    later = [entity(seed + 10, 200) for seed in range(3)]
    fleet = FleetAutoregression(detectors)
    stepped = np.array([fleet.step(np.stack(rows)) for rows in zip(*later, strict=True)])
    at_once = np.column_stack([detector.score(X) for detector, X in zip(detectors, later, strict=True)])
    np.testing.assert_allclose(stepped, at_once, rtol=1e-9)


def test_refuses_who_has_not_learned_or_differs() -> None:
    with pytest.raises(RuntimeError, match="learn"):
        FleetAutoregression([AutoregressionDetector()])
    with pytest.raises(ValueError, match="one smoothing"):
        FleetAutoregression([AutoregressionDetector(smoothing=5), AutoregressionDetector()])

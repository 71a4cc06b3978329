"""Channels learned by the compiled loop are what the detector learns, and steps go on where learning ended."""

import numpy as np
import pytest

from forewarn.detection.channel_forecast import ChannelForecaster, exponential_mean
from forewarn.detection.channels import (
    BLOCKS,
    CLIP,
    FURTHEST,
    LEAST_ERROR,
    SMOOTHING,
    entity_means,
    excess_of_blocks,
    learn,
)
from forewarn.detection.scaling import ChannelScale, carried_forward


def cells(channels: int = 7, n: int = 270, seed: int = 0) -> np.ndarray:
    """[C, n] random walks on noise; one stands still, one is zero."""
    rng = np.random.default_rng(seed)
    X = np.cumsum(rng.normal(size=(channels, n)), axis=1) + 5 * rng.normal(size=(channels, n)) + 100
    X[1], X[2] = 7.0, 0.0
    return X


def test_learns_what_the_detector_learns() -> None:
    X = cells()
    X[0, 50:60] = np.nan
    learned, peaks = learn(X, np.array([0, 4]))
    scale = ChannelScale.learn(X.T, FURTHEST)
    Z = carried_forward(scale.apply(X.T))
    model = ChannelForecaster.learn(Z)
    error = np.maximum(model.spread, LEAST_ERROR)
    np.testing.assert_allclose(learned.centre, scale.centre)
    np.testing.assert_allclose(learned.spread, scale.spread)
    np.testing.assert_allclose(learned.weights, model.weights, atol=1e-9)
    np.testing.assert_allclose(learned.error, error)
    squares = np.minimum(((Z - model.forecast(Z)) / error) ** 2, CLIP**2)
    np.testing.assert_allclose(learned.parts[1:], exponential_mean(squares, SMOOTHING)[-1][1:], atol=1e-9)
    assert peaks.shape == (BLOCKS, 2)


def test_a_step_goes_on_from_what_was_learned() -> None:
    X = cells(n=400)
    X[0, 350:355] = np.nan
    known, _ = learn(X[:, :270], np.array([0]))
    Z = (carried_forward(X.T) - known.centre) / known.spread
    forecast = ChannelForecaster(known.weights, known.offset, known.error).forecast(Z)
    errors = np.clip((Z - forecast) / known.error, -CLIP, CLIP) ** 2
    errors[350:360, 0] = 1.0  # a gap, and as long after it
    expected = known.parts.copy()
    for t in range(270, 400):
        known.step(X[:, t])
        expected += 2 / (SMOOTHING + 1) * (errors[t] - expected)
    np.testing.assert_allclose(known.parts, expected, rtol=1e-6, atol=1e-9)


def test_a_channel_that_was_restless_once_makes_high_peaks() -> None:
    X = cells(3, seed=1)
    X[0, 120] += 300
    _, peaks = learn(X, np.array([0, 1, 2]))
    excess = excess_of_blocks(peaks)
    assert excess[:, 0].argmax() == 120 * BLOCKS // 270
    assert excess[:, 0].max() > 2 > np.abs(excess[:, 1:]).max()


def test_channels_join_and_leave() -> None:
    X = cells()
    both, _ = learn(X, np.array([0]))
    a, b = learn(X[:3], np.array([0]))[0], learn(X[3:], np.array([0]))[0]
    np.testing.assert_allclose(a.beside(b).parts, both.parts)
    np.testing.assert_allclose(both.take(np.array([4, 5])).weights, both.weights[:, 4:6])
    np.testing.assert_allclose(entity_means(np.array([1.0, 3.0, 5.0]), np.array([0, 2])), [2.0, 5.0])


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        learn(cells(n=BLOCKS - 1), np.array([0]))

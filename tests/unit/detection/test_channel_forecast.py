"""Forecasts of a row know nothing of the row and what follows."""

import numpy as np
import pytest

from forewarn.detection.channel_forecast import ChannelForecaster, exponential_mean, memories, polynomial_forecast
from forewarn.detection.scaling import ChannelScale, carried_forward


def walk(n: int = 400, channels: int = 3) -> np.ndarray:
    return np.cumsum(np.random.default_rng(1).normal(size=(n, channels)), axis=0)


def test_forecasts_see_only_what_was_before() -> None:
    X = walk()
    model = ChannelForecaster.learn(X)
    changed = X.copy()
    changed[200:] += 50
    np.testing.assert_array_equal(model.forecast(X)[:201], model.forecast(changed)[:201])
    np.testing.assert_allclose(polynomial_forecast(X)[:201], polynomial_forecast(changed)[:201])
    np.testing.assert_array_equal(memories(X)[:, :201], memories(changed)[:, :201])


def test_polynomial_continues_a_polynomial() -> None:
    t = np.arange(60.0)
    X = np.column_stack([3 + 2 * t, 1 - t + 0.5 * t**2])
    np.testing.assert_allclose(polynomial_forecast(X, 12, 2)[12:], X[12:], rtol=1e-8)
    np.testing.assert_allclose(polynomial_forecast(X[:, 0], 12, 1)[12:], X[12:, 0], rtol=1e-8)
    with pytest.raises(ValueError, match="more than 2 rows"):
        polynomial_forecast(X, 2, 2)


def test_learned_weights_are_those_of_the_process() -> None:
    rng = np.random.default_rng(2)
    X = np.zeros((5000, 2))
    for t in range(1, len(X)):
        X[t] = [5.0, 0.0] + np.array([0.6, 0.95]) * (X[t - 1] - [5.0, 0.0]) + rng.normal(size=2)
    model = ChannelForecaster.learn(X, spans=(1,))
    np.testing.assert_allclose(model.weights[0], [0.6, 0.95], atol=0.03)
    assert model.residuals(X).std(axis=0) == pytest.approx([1, 1], abs=0.01)


def test_exponential_mean_by_hand() -> None:
    np.testing.assert_allclose(exponential_mean(np.array([0.0, 1.0, 1.0]), 3), [0.0, 0.5, 0.75])


def test_scale_of_missing_still_and_absent_channels() -> None:
    X = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, np.nan]])
    scale = ChannelScale.learn(X)
    np.testing.assert_allclose(scale.centre, [2, 5, 0])
    np.testing.assert_allclose(scale.spread, [1, 0.05, 1])
    assert scale.apply(np.array([[1e9, 5.0, 0.0]])).tolist() == [[30, 0, 0]]


def test_missing_is_the_last_known() -> None:
    Z = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan]])
    assert carried_forward(Z).tolist() == [[0, 1], [2, 1], [2, 1]]

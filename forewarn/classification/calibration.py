"""Platt calibration that stays near the identity where there are few failures to learn from."""

import numpy as np
from numpy.typing import NDArray

PRIOR_STRENGTH = 4.0  # how many failures weigh as much as the belief that the model is right already


def fit_platt(
    log_odds: NDArray[np.float64], event: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and intercept of P = sigmoid(slope × log_odds + intercept), (1, 0) without rows.

    Platt 1999, with a Gaussian prior around the identity; Newton's method. The slope stays above 0.05, so that
    calibration never turns the order of two risks round.
    """
    if len(log_odds) == 0 or weight.sum() <= 0:
        return 1.0, 0.0
    design = np.column_stack([log_odds, np.ones_like(log_odds)])
    identity = np.array([1.0, 0.0])
    prior = np.diag([PRIOR_STRENGTH, PRIOR_STRENGTH / 4])
    theta = identity.copy()
    for _ in range(50):
        p = _sigmoid(design @ theta)
        gradient = design.T @ (weight * (p - event)) + prior @ (theta - identity)
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + prior
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        theta = theta - step
        theta[0] = max(theta[0], 0.05)
        if np.abs(step).max() < 1e-8:
            break
    return float(theta[0]), float(theta[1])


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))), dtype=np.float64)

"""Forecasts that anyone can check by hand: the last value, the same time a day or a week before, a straight line."""

import numpy as np

from forewarn.forecasting.forecaster import Floats


class Naive:
    """What was last seen."""

    name = "naive"

    def learn(self, past: Floats, steps: int) -> None:
        """Nothing to learn."""

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]."""
        return np.repeat(past[:, -1:], steps, axis=1)


class SeasonalNaive:
    """What was seen one season before; what was last seen where the past is shorter than that."""

    def __init__(self, season: int, name: str = "seasonal_naive") -> None:
        self.season = season
        self.name = name

    def learn(self, past: Floats, steps: int) -> None:
        """Nothing to learn."""

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]."""
        return one_season_before(past, steps, self.season if past.shape[1] >= self.season else 1)


class Drift:
    """The last value and the robust slope of the last `window` cells, damped so that it fades beyond it.

    Slope: median of the later half less median of the earlier one, over the time between them (Brown and Mood).
    `predict_linear` with a median in place of the mean.
    """

    def __init__(self, window: int, damping: float = 1.0) -> None:
        self.window = window
        self.damping = damping  # of the slope, over one window
        self.name = f"drift_{window}_{damping:g}"

    def learn(self, past: Floats, steps: int) -> None:
        """Nothing to learn."""

    def points(self, past: Floats, steps: int) -> Floats:
        """[S, steps]."""
        ahead = np.arange(1, steps + 1)
        if self.damping < 1:
            per_step = self.damping ** (1 / self.window)
            ahead = per_step * (1 - per_step**ahead) / (1 - per_step)
        return np.asarray(past[:, -1:] + robust_slope(past, self.window)[:, None] * ahead)


def one_season_before(past: Floats, steps: int, season: int) -> Floats:
    """[S, steps] cells of the last season in `past`, repeated."""
    return past[:, past.shape[1] - season + np.arange(steps) % season]


def robust_slope(past: Floats, window: int) -> Floats:
    """[S] change per cell over the last `window` cells; zero where there are fewer than four."""
    recent = past[:, -window:]
    half = recent.shape[1] // 2
    if half < 2:
        return np.zeros(len(past))
    change = np.median(recent[:, -half:], axis=1) - np.median(recent[:, :half], axis=1)
    return np.asarray(change / (recent.shape[1] - half))

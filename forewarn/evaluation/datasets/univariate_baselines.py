"""Simple scores of a single series that a detector has to beat; all causal, none knows labels."""

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from forewarn.detection.residuals import DAY, sampling_step

LINEAR_WINDOW = 60  # samples through which predict_linear's line goes
FOREST_WINDOW = 16  # samples that the forest looks at

Floats = NDArray[np.float64]


def static_threshold(values: Floats, learned: int) -> Floats:
    """[n] distance from the mean of history in its standard deviations."""
    known = values[:learned]
    return np.asarray(np.abs(values - np.nanmean(known)) / max(float(np.nanstd(known)), 1e-12))


def seasonal_naive(times: Floats, values: Floats) -> Floats:
    """[n] distance from the sample a day earlier; from the sample before where a day is one sample or none."""
    lag = max(1, round(DAY / sampling_step(times)))
    out = np.zeros(len(values))
    if lag < len(values):
        out[lag:] = np.abs(values[lag:] - values[:-lag])
    return np.nan_to_num(out)


def linear_prediction(values: Floats) -> Floats:
    """[n] distance from the line through the last 60 samples, led on by one, as predict_linear draws it."""
    n, window = len(values), LINEAR_WINDOW
    out = np.zeros(n)
    if n <= window:
        return out
    x = np.arange(window) - (window - 1) / 2
    weight = 1.0 / window + x * ((window + 1) / 2) / (x @ x)
    filled = pd.Series(values).ffill().fillna(0.0).to_numpy(dtype=np.float64)
    predicted = np.convolve(filled, weight[::-1], mode="valid")[:-1]
    out[window:] = np.abs(filled[window:] - predicted)
    return out


def isolation_forest(values: Floats, learned: int, seed: int) -> Floats:
    """[n] Isolation Forest over the last 16 samples, grown on history."""
    from forewarn.detection.isolation_forest import IsolationForestDetector

    out = np.zeros(len(values))
    if learned < 4 * FOREST_WINDOW:
        return out
    rows = sliding_window_view(values, FOREST_WINDOW)
    detector = IsolationForestDetector(seed=seed)
    detector.learn(rows[: learned - FOREST_WINDOW + 1])
    out[learned:] = detector.score(rows[learned - FOREST_WINDOW + 1 :])
    return out


def windowed_gaussian(values: Floats, window: int = 6400, step: int = 100) -> Floats:
    """[n] how far out in a normal distribution of the last 6,400 samples, renewed every 100: NAB's own baseline."""
    from scipy.special import erfc

    place = np.arange(len(values))
    known = np.where(place <= window, place, window + (place - window) // step * step)
    first, count = np.maximum(known - window, 0), np.maximum(np.minimum(known, window), 1)
    centred = values - (values[0] if len(values) else 0.0)
    total, squares = (np.concatenate([[0.0], np.cumsum(centred**power)]) for power in (1, 2))
    mean = (total[known] - total[first]) / count
    spread = np.sqrt(np.maximum((squares[known] - squares[first]) / count - mean**2, 0.0))
    out = 1.0 - 0.5 * erfc(np.abs(centred - mean) / np.where(spread > 0, spread, 1e-6) / np.sqrt(2.0))
    return np.where(place > 0, out, 0.0)

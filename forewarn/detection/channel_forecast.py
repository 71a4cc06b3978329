"""One-step-ahead forecasts of every channel from its own past; what they miss by is what is new in a row.

`ChannelForecaster` learns one ridge regression a channel on exponential memories of its past (HAR, Corsi 2009);
`polynomial_forecast` needs no learning: it extrapolates a local polynomial. Both work on [n] and [n, F].
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPANS = (1, 5, 20, 100)  # rows; each about five times the one before, so that any decay in between is a mixture
CONTEXT_IN_SPANS = 5  # exp(-2 * 5): what lies further back weighs less than 1e-4
LEAST_SPREAD = 0.1  # of the channel's own: errors smaller than what anyone would call unusual are all the same


def exponential_mean(X: NDArray[np.floating[Any]], span: float) -> Floats:
    """Exponentially weighted mean up to and with each row; weight 2 / (span + 1), started at the first row."""
    from scipy.signal import lfilter

    values = np.asarray(X, dtype=np.float64)
    if len(values) == 0 or span <= 1:
        return values
    weight = 2.0 / (span + 1.0)
    smooth, _ = lfilter([weight], [1.0, weight - 1.0], values, axis=0, zi=(1.0 - weight) * values[:1])
    return np.asarray(smooth, dtype=np.float64)


def memories(X: NDArray[np.floating[Any]], spans: tuple[int, ...] = SPANS) -> Floats:
    """[S, n, F] what each span remembers before the row: nothing of the row itself is in it."""
    values = np.asarray(X, dtype=np.float64)
    if len(values) == 0:
        return np.empty((len(spans), *values.shape))
    return np.stack([np.concatenate([values[:1], exponential_mean(values, span)[:-1]]) for span in spans])


@dataclass(frozen=True, slots=True, eq=False)
class ChannelForecaster:
    """weights [S, F] of the memories, offset [F], spread [F] of the residuals on the rows that were learned.

    The ridge draws towards 'as before' (weight 1 on the last value), so a short history changes little.
    """

    weights: Floats
    offset: Floats
    spread: Floats
    spans: tuple[int, ...] = SPANS

    @property
    def context(self) -> int:
        """Rows before a row that its residual depends on."""
        return CONTEXT_IN_SPANS * max(self.spans)

    @classmethod
    def learn(cls, X: NDArray[np.floating[Any]], spans: tuple[int, ...] = SPANS, ridge: float = 10.0) -> Self:
        """Learn from `X` [n, F] in time order without NaN (see `carried_forward`); `ridge` counts in rows."""
        values = np.asarray(X, dtype=np.float64)
        centre = values.mean(axis=0)
        past = memories(values - centre, spans)
        penalty = ridge * np.maximum(values.var(axis=0), 1e-12)
        gram = np.einsum("snf,tnf->fst", past, past) + penalty[:, None, None] * np.eye(len(spans))
        target = np.einsum("snf,nf->fs", past, values - centre)
        target[:, 0] += penalty
        weights = np.linalg.solve(gram, target[..., None])[..., 0].T
        offset = centre * (1.0 - weights.sum(axis=0))
        model = cls(weights, offset, np.ones(values.shape[1]), spans)
        own = model.residuals(values)
        spread = np.maximum(own.std(axis=0), LEAST_SPREAD * np.maximum(values.std(axis=0), 1e-9))
        return cls(weights, offset, spread, spans)

    def forecast(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, F] what each row was expected to be, from rows before it alone."""
        return np.asarray(np.einsum("snf,sf->nf", memories(X, self.spans), self.weights) + self.offset)

    def residuals(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, F] value minus forecast, in spreads of the residuals that were learned."""
        return np.asarray((np.asarray(X, dtype=np.float64) - self.forecast(X)) / self.spread)


@lru_cache(maxsize=32)
def _extrapolation(window: int, degree: int) -> tuple[float, ...]:
    """Weights of the `window` rows before (the nearest first) in the value of their polynomial one row ahead."""
    past = -np.arange(1, window + 1, dtype=np.float64) / window
    return tuple(np.linalg.pinv(np.vander(past, degree + 1, increasing=True))[0].tolist())


def polynomial_forecast(X: NDArray[np.floating[Any]], window: int = 20, degree: int = 1) -> Floats:
    """Each row as the polynomial through the `window` rows before it foretells it (POLY; Savitzky and Golay 1964).

    `X` [n] or [n, F] in time order without NaN. A least-squares polynomial on a fixed grid is a fixed weighting of the
    past, so all rows and channels are one filter. Before the first row the first value is taken to have stood.
    Raises ValueError where the window holds fewer rows than the polynomial has coefficients.
    """
    from scipy.signal import lfilter

    if window <= degree:
        raise ValueError(f"a polynomial of degree {degree} needs a window of more than {window} rows")
    values = np.asarray(X, dtype=np.float64)
    if len(values) == 0:
        return values
    padded = np.concatenate([np.repeat(values[:1], window, axis=0), values])
    taps = (0.0, *_extrapolation(window, degree))
    return np.asarray(lfilter(taps, [1.0], padded, axis=0)[window:], dtype=np.float64)

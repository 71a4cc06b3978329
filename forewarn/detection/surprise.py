"""How surprising a number is beside those seen before: -log of the share that was at least so large.

Beyond the largest of what was seen the tail goes on as a power law (Hill 1975), so that two values that were both
never seen still differ. References are renewed as history grows, each from samples before those it judges.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

TAIL = 0.02  # the largest share of references that shapes the tail
GROWTH = 1.25  # a reference is renewed when history has grown by this factor
LONGEST_REFERENCE = 200_000
STEEPEST, FEWEST = 20.0, 8  # bound of the tail's exponent; references that an exponent needs

Floats = NDArray[np.float64]


def blocks(n: int, learned: int, growth: float = GROWTH) -> Iterator[tuple[int, int, int]]:
    """(start, stop, known): samples [start, stop) are judged by those before `known`.

    The learned part is judged by itself; after it `known` equals `start`.
    """
    learned = min(max(learned, 1), n)
    yield 0, learned, learned
    start = learned
    while start < n:
        stop = min(n, max(int(start * growth), start + 1))
        yield start, stop, start
        start = stop


def surprise(values: Floats, learned: int, growth: float = GROWTH) -> Floats:
    """[n] -log tail share of each of `values` [n] (larger is odder); NaN, what could not be computed, is 0."""
    out = np.zeros(len(values))
    for start, stop, known in blocks(len(values), learned, growth):
        out[start:stop] = tail_surprise(values[start:stop], values[max(0, known - LONGEST_REFERENCE) : known])
    return out


def novelty(values: Floats, learned: int, growth: float = GROWTH) -> Floats:
    """[n] surprise of the distance from the median of history, for values that history never held."""
    out = np.zeros(len(values))
    for start, stop, known in blocks(len(values), learned, growth):
        history = values[max(0, known - LONGEST_REFERENCE) : known]
        centre = np.nanmedian(history) if np.isfinite(history).any() else 0.0
        out[start:stop] = tail_surprise(np.abs(values[start:stop] - centre), np.abs(history - centre))
    return out


def tail_surprise(values: Floats, reference: Floats) -> Floats:
    """-log of the share of `reference` at least as large as each of `values`; 0 for NaN or without a reference."""
    known = np.sort(reference[np.isfinite(reference)])
    if len(known) == 0:
        return np.zeros(len(values))
    at_least = len(known) - np.searchsorted(known, values, side="left")
    out = -np.log((1.0 + at_least) / (1.0 + len(known)))
    edge, exponent = _tail(known)
    far = values > edge
    out[far] = np.log((1.0 + len(known)) / (1.0 + (known > edge).sum())) + exponent * np.log(values[far] / edge)
    out[~np.isfinite(values)] = 0.0
    return np.asarray(out, dtype=np.float64)


def _tail(known: Floats) -> tuple[float, float]:
    """Where the tail begins and its exponent; sorted `known`."""
    edge = known[int((1.0 - TAIL) * (len(known) - 1))]
    if edge <= 0.0:  # mostly zeros: what counts is the size of the others
        positive = known[known > 0]
        edge = positive[0] if len(positive) else np.finfo(np.float64).tiny ** 0.25
    beyond = known[known > edge]
    if len(beyond) < FEWEST:
        return float(edge), FEWEST / 2
    return float(edge), float(min(STEEPEST, 1.0 / np.mean(np.log(beyond / edge))))

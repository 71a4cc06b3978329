"""Paired bootstrap over clusters: how sure it is that one of two models has the smaller loss on the same rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

DRAWS = 4_000
MOST_CLUSTERS = 300  # more calm ones are joined: fewer clusters are the more cautious choice


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean loss of the first less that of the second, with its interval; negative: the first is better."""

    mean: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Whether the first is better beyond chance."""
        return self.high < 0

    @property
    def worse(self) -> bool:
        """Whether the first is worse beyond chance."""
        return self.low > 0


def paired_difference(difference: F64, cluster: I64, incident: Bools, chance: float, seed: int) -> Difference:
    """Interval of the mean of paired loss differences [n] whose rows are alike within a cluster [n].

    incident [n]: rows that lead to a failure. Clusters of incidents and calm ones are drawn apart, so that every draw
    holds as many incidents as were seen. The interval is the percentile one (Efron 1979; clusters: Field and Welsh
    2007), `chance` on each side, expanded for the few incidents that there are (Hesterberg 2015, section 5.3).
    Changing the sign of the differences mirrors the result exactly.
    """
    if not len(difference):
        return Difference(0.0, -np.inf, np.inf)
    rng = np.random.default_rng(seed)
    total, rows = np.zeros(DRAWS), np.zeros(DRAWS)
    for stratum in (incident, ~incident):
        if stratum.any():
            sums, counts = _clusters(difference[stratum], cluster[stratum])
            drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS).astype(np.float64)
            total += drawn @ sums
            rows += drawn @ counts
    tail = expanded(chance, len(np.unique(cluster[incident])))
    low, high = np.quantile(total / rows, [tail, 1 - tail])
    return Difference(float(difference.mean()), float(low), float(high))


def expanded(chance: float, clusters: int) -> float:
    """Tail probability at which the percentile interval of so few clusters is as wide as Student's t asks for."""
    from scipy.special import ndtr, stdtrit

    if clusters < 2:
        return 0.0
    return float(ndtr(np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, chance)))


def _clusters(difference: F64, cluster: I64) -> tuple[F64, F64]:
    _, found = np.unique(cluster, return_inverse=True)
    index = found.astype(np.int64) % MOST_CLUSTERS
    return np.bincount(index, difference).astype(np.float64), np.bincount(index).astype(np.float64)

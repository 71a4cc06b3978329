"""What every anomaly detector can do; one contract suite runs over all of them."""

from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@runtime_checkable
class AnomalyDetector(Protocol):
    """Learns what is usual from rows of features and says how unusual others are.

    Rows are [n, F] with NaN for what is missing; the order of rows carries no meaning.
    """

    def learn(self, X: NDArray[np.floating[Any]]) -> None:
        """Learn what is usual. Raises ValueError without rows."""
        ...

    def score(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n] anomaly scores, higher is worse. Raises RuntimeError before `learn`."""
        ...

    def p_value(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """[n]: the share of usual rows that score at least so high, in (0, 1]; small is unusual."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into `folder`."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises FileNotFoundError where a file is missing."""
        ...

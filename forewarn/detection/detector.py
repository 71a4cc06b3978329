"""What every anomaly detector can do; one contract suite runs over all of them."""

from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@runtime_checkable
class AnomalyDetector(Protocol):
    """Learns what is usual from rows and says how unusual others are.

    Rows are [n, F] with NaN for what is missing. `context` tells what their order means: with 0 each row is judged
    alone, and rows of many entities may be mixed; otherwise rows are those of one entity in time order, one a step,
    and a score depends on its row and `context` rows before it (what lies further back no longer matters), never on a
    row that follows. To score new rows, pass the `context` rows before them, too, and take the last scores.
    """

    @property
    def context(self) -> int:
        """Rows before a row that its score looks at; 0: none, the order of rows carries no meaning."""
        ...

    def learn(self, X: NDArray[np.floating[Any]]) -> None:
        """Learn what is usual. Raises ValueError where rows are too few."""
        ...

    def score(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n] anomaly scores, higher is worse. Raises RuntimeError before `learn`."""
        ...

    def p_value(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """[n]: the share of usual rows that score at least so high, in (0, 1]; small is unusual.

        The usual rows are some that the detector was given to `learn` and did not fit itself to.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into `folder`."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises FileNotFoundError where a file is missing."""
        ...


@runtime_checkable
class ExplainingDetector(AnomalyDetector, Protocol):
    """A detector that tells which columns a score comes from."""

    def contributions(self, X: NDArray[np.floating[Any]]) -> Floats:
        """[n, F] that sum to `score(X)`; a negative one says that the column makes the row more usual."""
        ...

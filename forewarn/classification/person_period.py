"""Person-period rows of a discrete-time hazard model: which time bins a subject went through, and how each ended."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1e-3  # inside the first bin


@dataclass(frozen=True, slots=True, eq=False)
class PersonPeriods:
    """`m` rows: subject `row` was at risk in time bin `bin`.

    row: int64 [m], index of the subject. bin: int64 [m]. event: float64 [m], 1 where the failure fell into the bin.
    exposure: float64 [m], share of the bin that was watched: 1 except where watching ended inside the bin.
    """

    row: NDArray[np.int64]
    bin: NDArray[np.int64]
    event: NDArray[np.float64]
    exposure: NDArray[np.float64]


def expand(
    steps_to_failure: NDArray[np.floating[Any]], observed_steps: NDArray[np.floating[Any]], horizons: tuple[int, ...]
) -> PersonPeriods:
    """Expand subjects into the bins (0, h1], (h1, h2], … that they went through.

    steps_to_failure: [n], inf where no failure was seen. observed_steps: [n], how long the subject was watched.
    A failure ends the bins of a subject. Without one, a bin that was watched in part counts by its watched share
    (the actuarial correction for right-censoring: n' = n - censored share; Kaplan and Meier 1958, section 2).
    Rows whose times are NaN, or who were never watched, carry no information and are left out. A failure at zero
    comes with the very next cell and belongs to the first bin.
    """
    ends = np.asarray(horizons, dtype=np.float64)
    starts = np.concatenate([[0.0], ends[:-1]])
    failure = np.maximum(np.asarray(steps_to_failure, dtype=np.float64)[:, None], _AT_ONCE)
    seen = np.asarray(observed_steps, dtype=np.float64)[:, None]
    failed = np.isfinite(failure) & (failure <= np.where(np.isnan(seen), -np.inf, seen))
    event = failed & (failure > starts) & (failure <= ends)
    watched = np.clip((seen - starts) / (ends - starts), 0.0, 1.0)
    exposure = np.where(failed, np.where(failure > starts, 1.0, 0.0), watched)
    exposure = np.where((seen > 0) & ~np.isnan(failure), exposure, 0.0)
    row, bins = np.nonzero(exposure > 0)
    return PersonPeriods(row, bins, event[row, bins].astype(np.float64), exposure[row, bins])

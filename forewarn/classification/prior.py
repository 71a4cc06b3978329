"""What is known without training, as log-odds that a trained model starts from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.calibration import fit_platt
from forewarn.classification.person_period import PersonPeriods

Floats = NDArray[np.float64]
Survival = Callable[[Floats], Floats]  # features [n, F] to P(no failure within each horizon) [n, H]

_LEAST, _MOST = 1e-3, 0.9  # hazards that are believed without training


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Log-odds of each bin's hazard by `survival`, calibrated by slope [H] and intercept [H]."""

    survival: Survival
    slope: Floats
    intercept: Floats

    @classmethod
    def fit(cls, survival: Survival, X: Floats, periods: PersonPeriods, weight: Floats, bins: int) -> "Prior":
        """How far each bin may trust it, on the person-periods of rows `X` with weights [m]."""
        z = _log_odds(survival(X))
        fits = []
        for b in range(bins):
            own = periods.bin == b
            fits.append(fit_platt(z[periods.row[own], b], periods.event[own], weight[own]))
        slope, intercept = np.array(fits, dtype=np.float64).T
        return cls(survival, slope, intercept)

    def log_odds(self, X: Floats) -> Floats:
        """[n, H]."""
        return np.asarray(_log_odds(self.survival(X)) * self.slope + self.intercept)


def _log_odds(survival: Floats) -> Floats:
    """Of the hazard of each bin, from survival at the end of each."""
    s = np.clip(survival, 1e-4, 1 - 1e-4)
    hazard = np.clip(1 - s / np.column_stack([np.ones(len(s)), s[:, :-1]]), _LEAST, _MOST)
    return np.asarray(np.log(hazard / (1 - hazard)), dtype=np.float64)

"""Weights for those whom nobody helped: how training learns from a history in which warnings were acted upon.

Who acts on a warning ends what can be seen of that signal (right-censoring), and does so just where failures were
near: whoever is still watched late is healthier than all were. Each watched moment after a warning therefore counts
1 / P(nobody has acted until then | warned), so that the signals that were left alone stand for those that were helped
(inverse probability of censoring weights: Robins and Finkelstein 2000, 'Correcting for noncompliance and dependent
censoring …', Biometrics 56). Weights are cut where that probability falls below a floor (Cole and Hernán 2008).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.1  # a signal stands for ten at most


@dataclass(frozen=True, slots=True, eq=False)
class ActionCurve:
    """P(nobody has acted `u` steps after the warning), by Kaplan and Meier (1958).

    steps: float64 [k] ascending, the first is 0; left: float64 [k], the probability from each of them on. Who acts is
    taken to depend on the warning and the time since, not on what only the engineer saw.
    """

    steps: Floats
    left: Floats

    @classmethod
    def nobody(cls) -> "ActionCurve":
        """Nobody ever acts: every weight is 1."""
        return cls(np.zeros(1), np.ones(1))

    @classmethod
    def fit(cls, steps: NDArray[np.floating[Any]], acted: NDArray[np.bool_], floor: float = FLOOR) -> "ActionCurve":
        """steps: [n] from each warning to its action, or to what ended it otherwise; acted: bool [n]."""
        times = np.unique(np.asarray(steps, np.float64)[acted])
        if not len(times):
            return cls.nobody()
        waiting = np.array([(steps >= at).sum() for at in times])
        went = np.array([((steps == at) & acted).sum() for at in times])
        left = np.maximum(np.cumprod(1.0 - went / waiting), floor)
        if times[0] <= 0:
            return cls(times, left)
        return cls(np.concatenate([[0.0], times]), np.concatenate([[1.0], left]))

    def at(self, since: Floats, *, before: bool = False) -> Floats:
        """The probability `since` steps after the warning; with `before`, just before what happens then. 1 before the
        warning."""
        position = np.searchsorted(self.steps, since, side="left" if before else "right") - 1
        return np.where(position >= 0, self.left[np.maximum(position, 0)], 1.0)

    def inverse(
        self,
        steps: NDArray[np.floating[Any]],
        observed: NDArray[np.floating[Any]],
        warned: NDArray[np.floating[Any]],
        closed: NDArray[np.floating[Any]],
        horizons: tuple[int, ...],
    ) -> Floats:
        """Weights [n, H] of the bins of `person_period.expand`.

        steps, observed: [n] as there. warned, closed: [n] steps from the row until the warning that falls into what
        was watched of it was told, and until it ended (negative: before the row; inf: there was none). A bin in which
        the failure came counts by the moment of the failure, others by the mean over what was watched of them.
        """
        ends = np.asarray(horizons, np.float64)
        starts = np.concatenate([[0.0], ends[:-1]])
        there = np.isfinite(warned)
        told, over = (np.where(there, np.asarray(v, np.float64), 0.0)[:, None] for v in (warned, closed))
        seen = np.asarray(observed, np.float64)[:, None]
        failure = np.where(np.isfinite(steps), steps, np.inf).astype(np.float64)[:, None]
        event = (failure <= seen) & (failure > starts) & (failure <= ends)
        stop = np.clip(np.minimum(seen, failure), starts, ends)
        area = self._area(np.minimum(stop, over) - told) - self._area(np.minimum(starts, over) - told)
        after = np.maximum(stop - np.maximum(starts, over), 0.0) / self.at(over - told)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(stop > starts, (area + after) / (stop - starts), 1.0)
        finite = np.where(event, failure, 0.0)
        at_failure = 1.0 / self.at(np.minimum(finite, over) - told, before=True)
        now = self.at(np.maximum(-told, 0.0))  # of those whom nobody had helped when the row was made
        return np.where(there[:, None], now * np.where(event, at_failure, mean), 1.0)

    def _area(self, since: Floats) -> Floats:
        """Integral of the weight from the warning to `since`; before it the weight is 1."""
        knots = np.concatenate([[0.0], np.cumsum(np.diff(self.steps) / self.left[:-1])])
        beyond = np.maximum(since - self.steps[-1], 0.0) / self.left[-1]
        return np.where(since <= 0, since, np.interp(since, self.steps, knots) + beyond)

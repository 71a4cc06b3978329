"""How much each candidate counts for a series: by its errors there, beside those in the whole class.

A mean of several forecasts is steadier than the winner of a short contest, and a series that differs from its class is
served by what fits it, a plain baseline too (weights by inverse past errors: Bates and Granger 1969).
"""

import numpy as np

from forewarn.forecasting.capacity.horizons import Floats

SMALL = 1e-3  # units: errors below count alike
_SHARPNESS = 4.0  # weight of a candidate: its error to this negative power
_CLASS = 8.0  # windows that the errors in the class weigh beside a series' own
_DOUBT = 0.1  # by which any other seems worse than the first while nothing is known (on a log scale)
_MOST = 4  # candidates that count for a series
_TELLING = 4  # series from which being ahead may be more than chance
_ERRORS = 2.0  # standard errors by which one is surely ahead


def weights_of(error: Floats, windows: float) -> tuple[Floats, Floats]:
    """Weights [N, s] of each series and [N] of any other of the class, from errors [N, s] in units.

    Those of the first candidate are what the others are compared with. windows: how many that do not overlap told it.
    """
    off = np.log(error + SMALL) - np.log(error[:1] + SMALL)
    doubt = np.full(len(error), _DOUBT)
    doubt[0] = 0.0
    total = windows * error.shape[1]
    of_class = (total * off.mean(axis=1) + _CLASS * doubt) / (total + _CLASS)
    own = (windows * off + _CLASS * of_class[:, None]) / (windows + _CLASS)
    return _weights(own), _weights(of_class[:, None])[:, 0]


def surely_better(error: Floats, than: Floats) -> bool:
    """Whether errors [s] lie below others' [s] by more than chance: two standard errors over four series at least."""
    gain = np.log((than + SMALL) / (error + SMALL))
    return len(gain) >= _TELLING and bool(gain.mean() > _ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def _weights(off: Floats) -> Floats:
    """[N, s] of the best few, adding up to one, from how far each is off on a log scale."""
    place = off.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    weight = np.where(place < _MOST, np.exp(-_SHARPNESS * (off - off.min(axis=0))), 0.0)
    return np.asarray(weight / weight.sum(axis=0))

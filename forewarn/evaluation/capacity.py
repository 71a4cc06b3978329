"""Learns the packaged capacity forecaster from random shapes; `python -m forewarn.evaluation.capacity` writes it."""

import numpy as np

from forewarn.forecasting.capacity.direct import SHORTEST, DirectQuantiles, features, target_of
from forewarn.forecasting.capacity.horizons import FARTHEST, Floats
from forewarn.forecasting.capacity.model import FOLDER
from forewarn.forecasting.capacity.shapes import draw

LONGEST = 1344  # hours of history: eight weeks
BATCHES, _EACH = 160, 160


def rows(seed: int, batches: int) -> tuple[Floats, Floats]:
    """Features [n, F] and targets [n] of random series, as many of each batch as there are, of one length a batch.

    Lengths are log-uniform from a day to eight weeks: the first days, where least is known, count most.
    """
    rng = np.random.default_rng(seed)
    designs, targets = [], []
    for _ in range(batches):
        hours = int(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST))))
        values = np.stack([draw(rng, hours + FARTHEST) for _ in range(_EACH)])
        design = features(values[:, :hours])
        designs.append(design.reshape(-1, design.shape[-1]))
        targets.append(target_of(values, hours).ravel())
    return np.concatenate(designs), np.concatenate(targets)


def learn(seed: int = 0, batches: int = BATCHES) -> DirectQuantiles:
    """The direct quantiles of random shapes; minutes on one core."""
    return DirectQuantiles.fit(*rows(seed, batches), seed)


if __name__ == "__main__":
    learn().save(FOLDER)

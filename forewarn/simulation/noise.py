"""Random streams by name: adding one does not change another, so runs with and without a failure stay comparable."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Noise:
    """Draws of `steps` values each, from a seed and a name."""

    def __init__(self, seed: int, steps: int, step_seconds: float) -> None:
        self.seed = seed
        self.steps = steps
        self.step_seconds = step_seconds

    def generator(self, name: str) -> np.random.Generator:
        """The stream of this name, from its beginning."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def normal(self, name: str, spread: float = 1.0) -> Floats:
        """Independent normal values, cut at 3.5 σ; `spread` is σ of a minute's average (longer steps vary less)."""
        scale = spread * min(2.0, (60 / self.step_seconds) ** 0.5)
        return np.clip(self.generator(name).standard_normal(self.steps), -3.5, 3.5) * scale

    def wandering(self, name: str, spread: float, memory_seconds: float) -> Floats:
        """A first-order autoregressive process with standard deviation `spread`, cut at 2.5 σ."""
        from scipy.signal import lfilter

        keep = np.exp(-self.step_seconds / memory_seconds)
        shocks = self.generator(name).standard_normal(self.steps)
        start = [keep * shocks[0]] if self.steps else [0.0]
        path, _ = lfilter([np.sqrt(1 - keep**2)], [1, -keep], shocks, zi=start)
        return np.asarray(np.clip(path, -2.5, 2.5) * spread, np.float64)

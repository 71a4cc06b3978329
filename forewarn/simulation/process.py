"""One process of the shop: its memory with the garbage collector's sawtooth, its open files, its CPU, its restarts."""

from math import exp

from forewarn.simulation.noise import Noise
from forewarn.simulation.topology import ProcessProfile

_WARM_UP_SECONDS = 7200.0


class Process:
    """State of one process. Memory is counted in shares of the limit; a leak adds to what is alive."""

    def __init__(self, name: str, profile: ProcessProfile, noise: Noise) -> None:
        self.profile = profile
        self.started_at = 0.0  # seconds since the start of the simulation
        self.pressure = 0.0  # 0 to 1: how hard the garbage collector works for room
        self.out_of_memory = False
        self.memory_per_request = 1.0  # beside the first version's: a release may change it
        rng = noise.generator(f"{name}-start")
        self._age = float(rng.uniform(0.3, 3) * _WARM_UP_SECONDS)
        self._garbage = float(rng.uniform(0, profile.garbage))
        self._cpu_noise = noise.normal(f"{name}-cpu", 0.012).tolist()
        self._memory_noise = noise.normal(f"{name}-memory", 0.004).tolist()
        self._file_noise = noise.normal(f"{name}-files", 0.015).tolist()

    def restart(self, at: float) -> None:
        """Everything in memory is gone; counters begin at 0 again."""
        self.started_at = at
        self._age = 0.0
        self._garbage = 0.0
        self.out_of_memory = False

    def slowdown(self) -> float:
        """Factor on the service time: collecting garbage takes CPU when there is little room."""
        return 1 + 0.5 * self.pressure + (0.9 if self.out_of_memory else 0.0)

    def step(
        self, k: int, dt: float, busy: float, connections: float, leak: float, leaked_files: float
    ) -> tuple[float, float, float, float, float]:
        """CPU (0 to 1), memory (bytes), its limit, open files, their limit, after `dt` seconds at utilisation `busy`.

        leak: share of the memory limit that leaked. leaked_files: descriptors that were never closed.
        """
        profile = self.profile
        memory = self._memory(k, dt, busy, leak)
        self.out_of_memory = memory >= 1
        self.pressure = max(0.0, (memory - 0.86) / 0.14) ** 2
        files = (profile.files + connections) * (1 + self._file_noise[k]) + leaked_files
        cpu = 0.025 + 0.9 * busy + 0.25 * self.pressure + self._cpu_noise[k]
        return (
            min(1.0, max(0.004, cpu)),
            float(round(memory * profile.memory_limit)),
            float(profile.memory_limit),
            float(round(min(files, profile.file_limit))),
            float(profile.file_limit),
        )

    def _memory(self, k: int, dt: float, busy: float, leak: float) -> float:
        """Share of the limit that is used: what is alive, and garbage in a sawtooth that has ever less room."""
        profile = self.profile
        self._age += dt
        warm = 1 - exp(-self._age / _WARM_UP_SECONDS)
        busy *= self.memory_per_request  # what requests hold, and what they leave to the collector
        alive = profile.base + profile.warm_up * warm + profile.per_load * busy + leak
        alive += self._memory_noise[k] * (1 - alive)
        height = min(profile.garbage, 0.6 * max(0.0, 1 - alive))
        self._garbage += profile.garbage * (0.25 + 0.75 * busy) * dt / profile.garbage_seconds
        if self._garbage > height:
            self._garbage = height * (0.08 + abs(self._memory_noise[k]) * 20)
        return max(0.02, min(1.0, alive + self._garbage))

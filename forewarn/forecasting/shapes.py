"""Shapes that signals take against a limit, drawn at random: what the first-day model learns from, no data of anyone.

Each draw is one series relative to its limit (1.0), a sample a step: leaks (steady, bent, in stairs, with the load),
sawteeth, seasons, plateaus, caches that stand at their bound by design, batches, deploys, restarts, bursts; noise,
start-up, whole numbers and gaps on top. How often each comes is a prior belief, stated in `WEIGHTS`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Rng = np.random.Generator

HIGHEST = 0.9985  # a series that does not fail stays below its limit
WEIGHTS = {
    "flat": 0.04, "season": 0.09, "sawtooth": 0.09, "growth": 0.26, "growth_sawtooth": 0.06, "growth_season": 0.05,
    "plateau": 0.14, "batch": 0.06, "deploy": 0.05, "restart": 0.06, "walk": 0.03, "full_by_design": 0.04,
    "bursts": 0.03,
}  # fmt: skip
_FAILS = ("growth", "growth_sawtooth", "growth_season", "restart", "walk")


def draw(rng: Rng, steps: int) -> NDArray[np.float32]:
    """One series: float32 [steps], 1 is the limit, NaN where samples are missing."""
    kind = str(rng.choice(list(WEIGHTS), p=list(WEIGHTS.values())))
    base = rng.uniform(0.03, 0.85) if rng.random() < 0.7 else rng.uniform(0.03, 0.3)
    y = _SHAPES[kind](rng, np.full(steps, base), 1.0 - base)
    noise = float(np.exp(rng.uniform(np.log(1e-4), np.log(0.03))))
    if kind == "full_by_design":
        noise *= 0.1
    elif rng.random() < 0.35:
        y = y + (1.0 - base) * rng.uniform(0, 0.08) * _season(rng, steps)
    if rng.random() < 0.3:  # a start-up
        y = y - y[0] * rng.uniform(0.1, 0.9) * np.exp(-np.arange(steps) / np.exp(rng.uniform(np.log(3), np.log(60))))
    y = _spiky(rng, y + noise * _autocorrelated(rng, steps))
    if kind not in _FAILS:
        y = np.minimum(y, HIGHEST)
    if rng.random() < 0.35:  # a count
        most = np.exp(rng.uniform(np.log(12), np.log(1000)))
        y = np.floor(y * most + 0.5) / most
    y = np.maximum(y if kind in _FAILS else np.minimum(y, HIGHEST), 0.0)
    if rng.random() < 0.15:
        start = int(rng.integers(0, steps))
        y[start : start + int(rng.integers(5, 80))] = np.nan
    return np.asarray(y, np.float32)


def _season(rng: Rng, steps: int) -> F64:
    """Waves from 0 to 1 with a period of 60 to 1500 steps, round or peaked."""
    period = np.exp(rng.uniform(np.log(60), np.log(1500)))
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(steps) / period + rng.uniform(0, 2 * np.pi))
    return np.asarray(wave ** rng.choice([1, 1, 2, 4]))


def _growth(rng: Rng, steps: int, fastest: float = 120, slowest: float = 2500) -> F64:
    """A curve that leaves 0 at some step and reaches 1 in `fastest` to `slowest` steps, log-uniform."""
    onset = 0 if rng.random() < 0.35 else int(rng.integers(0, int(steps * 0.8)))
    t = np.maximum(np.arange(steps) - onset, 0).astype(np.float64)
    whole = float(np.exp(rng.uniform(np.log(fastest), np.log(slowest))))
    if onset == 0 and rng.random() < 0.5:  # it began before we came
        t = t + rng.uniform(0, 0.5) * whole
    kind = rng.choice(["line", "power", "exponential", "stairs", "load", "phases"], p=[0.3, 0.15, 0.1, 0.2, 0.15, 0.1])
    x = t / whole
    if kind == "line":
        grown = x
    elif kind == "power":
        grown = x ** (rng.uniform(0.6, 1.8) if rng.random() < 0.6 else rng.uniform(1.5, 4))
    elif kind == "exponential":
        bend = rng.uniform(1, 5)
        grown = np.expm1(bend * np.minimum(x, 3)) / np.expm1(bend)
    else:
        grown = _paced(rng, str(kind), np.where(np.arange(steps) >= onset, 1 / whole, 0.0))
    return np.minimum(grown, 50.0)


def _paced(rng: Rng, kind: str, rate: F64) -> F64:
    """The sum of a rate that follows the load, changes in phases, or comes in stairs."""
    steps = len(rate)
    if kind == "load":
        rate = rate * (0.2 + 1.6 * _season(rng, steps))
    if kind == "phases":
        pace = np.repeat(np.exp(rng.normal(0, 0.9, steps // 30 + 2)), int(rng.integers(30, 200)))
        rate = rate * pace[:steps]
    if kind == "stairs" or rng.random() < 0.4:
        height = float(np.exp(rng.uniform(np.log(0.01), np.log(0.15))))
        return np.asarray(np.cumsum(rng.poisson(rate / height)) * height)
    return np.asarray(np.cumsum(rate))


def _teeth(rng: Rng, steps: int) -> F64:
    """Teeth from 0 to 1 of 15 to 400 steps each, of uneven length."""
    period = float(np.exp(rng.uniform(np.log(15), np.log(400))))
    edges = np.cumsum(np.exp(rng.normal(0, 0.2, int(steps / period * 3) + 5)) * period) - rng.uniform(0, period)
    t = np.arange(steps)
    i = np.searchsorted(edges, t, "right")
    began = np.where(i > 0, edges[np.maximum(i - 1, 0)], edges[0] - period)
    return np.clip((t - began) / period, 0, 1)


def _autocorrelated(rng: Rng, steps: int) -> F64:
    from scipy.signal import lfilter

    keep = float(rng.choice([0, 0.5, 0.9]))
    return np.asarray(lfilter([np.sqrt(1 - keep * keep)], [1, -keep], rng.standard_normal(steps)))


def _spiky(rng: Rng, y: F64) -> F64:
    if rng.random() < 0.15:
        count = int(rng.poisson(len(y) / 100))
        y[rng.integers(0, len(y), count)] += np.minimum(rng.exponential(0.05, count), 0.1)
    return y


def _plateau(rng: Rng, y: F64, room: float) -> F64:
    grown, bound = room * _growth(rng, len(y), 40, 1500), rng.uniform(0.05, 0.98) * room
    way, haste = rng.random(), rng.uniform(1, 4)
    if way < 0.6:
        return y + bound * -np.expm1(-grown / bound * haste)
    return y + (np.minimum(grown * haste, bound) if way < 0.8 else bound * np.tanh(grown / bound * haste))


def _batches(rng: Rng, y: F64, room: float) -> F64:
    t = np.arange(len(y))
    for _ in range(int(rng.integers(1, 4))):
        start, up, hold, down = (int(rng.integers(*r)) for r in ((0, len(y)), (5, 150), (0, 150), (1, 60)))
        height = min(rng.uniform(0.1, 0.95) * room, max(room - 0.03, 0.0))
        y = y + height * np.clip(np.minimum((t - start) / up, (start + up + hold + down - t) / down), 0, 1)
    return np.minimum(y, 0.98)


def _deploys(rng: Rng, y: F64, room: float) -> F64:
    t = np.arange(len(y))
    for _ in range(int(rng.integers(1, 3))):
        slow = np.exp(rng.uniform(0, np.log(60)))
        y = y + rng.uniform(-0.15, 0.4) * room * -np.expm1(-np.maximum(t - rng.integers(0, len(y)), 0) / slow)
    return np.clip(y, 0.01, 0.98)


def _restarts(rng: Rng, y: F64, room: float) -> F64:
    grown = np.minimum(_growth(rng, len(y), 100, 2500), 30.0)
    every = int(rng.integers(60, 500))
    for cut in range(int(rng.integers(20, every)), len(y), every):
        grown[cut:] -= grown[cut] * rng.uniform(0.8, 1)
    planned = min(1.0, 0.97 / max(float(grown.max()), 1e-9)) if rng.random() < 0.7 else 1.0
    return y + room * grown * planned


def _bursts(rng: Rng, y: F64, room: float) -> F64:
    level = rng.uniform(0.02, 0.3) * np.exp(rng.normal(0, rng.uniform(0.2, 0.7), len(y)))
    return np.minimum(level, 0.97)


_SHAPES: dict[str, Callable[[Rng, F64, float], F64]] = {
    "flat": lambda rng, y, room: y,
    "season": lambda rng, y, room: y + room * rng.uniform(0.05, 0.97) * _season(rng, len(y)),
    "sawtooth": lambda rng, y, room: y + room * rng.uniform(0.05, 0.95) * _teeth(rng, len(y)),
    "growth": lambda rng, y, room: y + room * _growth(rng, len(y)),
    "growth_sawtooth": lambda rng, y, room: (
        y + room * (rng.uniform(0.05, 0.45) * _teeth(rng, len(y)) + _growth(rng, len(y)))
    ),
    "growth_season": lambda rng, y, room: (
        y + room * (rng.uniform(0.05, 0.5) * _season(rng, len(y)) + _growth(rng, len(y)))
    ),
    "plateau": _plateau,
    "batch": _batches,
    "deploy": _deploys,
    "restart": _restarts,
    "walk": lambda rng, y, room: (
        y + np.cumsum(rng.standard_normal(len(y))) * np.exp(rng.uniform(np.log(1e-3), np.log(1e-2)))
    ),
    "full_by_design": lambda rng, y, room: np.minimum(
        y + room * _growth(rng, len(y), 40, 1500) * rng.uniform(1, 4), rng.uniform(0.97, 0.9999)
    ),
    "bursts": _bursts,
}

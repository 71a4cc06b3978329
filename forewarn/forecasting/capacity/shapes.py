"""Capacities over days and weeks, drawn at random in cells of an hour: what the packaged forecaster learns from.

Each draw is one series without unit: a floor, what fills it (steady, bent, by phases, by the load, in stairs), what
empties it (rotation, clean-ups, restarts), seasons of a day and a week, level shifts, bursts and noise. No data of
anyone; how often each comes is a prior belief, stated in `WEIGHTS`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

F64 = NDArray[np.float64]
Rng = np.random.Generator

WEIGHTS = {
    "flat": 0.05, "growth": 0.17, "growth_season": 0.12, "season": 0.16, "sawtooth": 0.11, "growth_sawtooth": 0.09,
    "shift": 0.08, "plateau": 0.11, "batch": 0.05, "walk": 0.03, "bursts": 0.03,
}  # fmt: skip
DAY, WEEK = 24, 168


def draw(rng: Rng, hours: int, kind: str = "") -> F64:
    """One series [hours], hourly maxima; of a kind of WEIGHTS, or of any."""
    kind = kind or str(rng.choice(list(WEIGHTS), p=list(WEIGHTS.values())))
    y = rng.uniform(0.0, 2.0) + _SHAPES[kind](rng, hours)
    if kind not in ("season", "growth_season") and rng.random() < 0.25:
        y = y + rng.uniform(0.01, 0.15) * _season(rng, hours)
    if kind != "shift" and rng.random() < 0.15:
        y = y + 0.3 * _shifts(rng, hours)
    y = y + _noise(rng, hours)
    if rng.random() < 0.25:
        most = np.exp(rng.uniform(np.log(10), np.log(1000)))
        y = np.round(y * most) / most
    return np.asarray(y)


def _season(rng: Rng, hours: int) -> F64:
    """A day, from 0 to about 1, round or peaked; often quieter at weekends; of uneven height."""
    t = np.arange(hours) + rng.integers(0, WEEK)
    wave = (0.5 - 0.5 * np.cos(2 * np.pi * t / DAY)) ** rng.choice([1, 1, 2, 4])
    if rng.random() < 0.3:  # a job at its hour
        wave = 0.5 * wave + np.where(t % DAY == rng.integers(0, DAY), rng.uniform(0.3, 1.0), 0.0)
    if rng.random() < 0.5:
        wave = wave * np.where(t // DAY % 7 < 5, 1.0, rng.uniform(0.2, 0.9))
    uneven = np.exp(rng.normal(0, rng.uniform(0.02, 0.2), hours // DAY + 2))
    return np.asarray(wave * uneven[t // DAY - t[0] // DAY])


def _growth(rng: Rng, hours: int) -> F64:
    """From 0 on, by 1 in 12 h to 90 days, log-uniform."""
    onset = 0 if rng.random() < 0.5 else int(rng.integers(0, hours))
    on = np.arange(hours) >= onset
    whole = float(np.exp(rng.uniform(np.log(12), np.log(90 * DAY))))
    rate = on / whole
    way = rng.choice(["line", "power", "load", "phases", "stairs"], p=[0.35, 0.15, 0.2, 0.2, 0.1])
    if way == "power":
        t = np.maximum(np.arange(hours) - onset, 0)
        return np.asarray((t / whole) ** rng.uniform(0.5, 2.0))
    if way == "load":
        rate = rate * (0.2 + 1.6 * _season(rng, hours))
    elif way == "phases":
        length = int(np.exp(rng.uniform(np.log(12), np.log(14 * DAY))))
        rate = rate * np.repeat(np.exp(rng.normal(0, 0.8, hours // length + 1)), length)[:hours]
    elif way == "stairs":
        height = float(np.exp(rng.uniform(np.log(0.02), np.log(0.3))))
        return np.asarray(np.cumsum(rng.poisson(rate / height)) * height)
    return np.asarray(np.cumsum(rate))


def _teeth(rng: Rng, hours: int) -> F64:
    """Teeth up to about 1 of 6 h to 10 days, even (rotation) or uneven (collection), emptied all or in part."""
    period = (
        float(rng.choice([DAY, WEEK])) if rng.random() < 0.4 else float(np.exp(rng.uniform(np.log(6), np.log(240))))
    )
    uneven, left = (0.0 if rng.random() < 0.4 else rng.uniform(0.05, 0.4)), rng.uniform(0, 0.5)
    edges = np.cumsum(np.exp(rng.normal(0, uneven, int(2 * hours / period) + 6)) * period) - rng.uniform(0, period)
    t = np.arange(hours)
    i = np.searchsorted(edges, t, "right")
    began = np.where(i > 0, edges[np.maximum(i - 1, 0)], edges[0] - period)
    return np.asarray(left + (1 - left) * np.clip((t - began) / period, 0, 2) ** rng.uniform(0.6, 1.4))


def _shifts(rng: Rng, hours: int) -> F64:
    """Levels that change at once, a few times a month: deploys, clean-ups, migrations."""
    at = rng.integers(0, hours, 1 + int(rng.poisson(hours / (20 * DAY))))
    return np.asarray(sum(rng.normal(0, 0.6) * (np.arange(hours) >= one) for one in at))


def _plateau(rng: Rng, hours: int) -> F64:
    grown = _growth(rng, hours) * rng.uniform(1, 8)
    return np.asarray(-np.expm1(-grown) if rng.random() < 0.5 else np.minimum(grown, 1.0))


def _batches(rng: Rng, hours: int) -> F64:
    """Up for a migration or an export, there for a while, and down again."""
    t, total = np.arange(hours), np.zeros(hours)
    for _ in range(1 + int(rng.poisson(hours / (10 * DAY)))):
        up, hold, down = (int(rng.integers(1, most)) for most in (72, 96, 24))
        start = int(rng.integers(-up, hours))
        total += rng.uniform(0.1, 1.0) * np.clip(
            np.minimum((t - start) / up, (start + up + hold + down - t) / down), 0, 1
        )
    return total


def _bursts(rng: Rng, hours: int) -> F64:
    height = rng.exponential(0.3, hours) * (rng.random(hours) < rng.uniform(0.005, 0.05))
    return np.asarray(lfilter([1], [1, -rng.uniform(0, 0.8)], height))


def _walk(rng: Rng, hours: int) -> F64:
    return np.asarray(np.cumsum(rng.standard_normal(hours)) * np.exp(rng.uniform(np.log(2e-3), np.log(5e-2))))


def _noise(rng: Rng, hours: int) -> F64:
    keep = float(rng.choice([0, 0.5, 0.9]))
    tail = rng.standard_normal(hours) if rng.random() < 0.6 else rng.standard_t(4, hours)
    size = np.exp(rng.uniform(np.log(1e-4), np.log(0.05)))
    return np.asarray(size * lfilter([np.sqrt(1 - keep * keep)], [1, -keep], tail))


_SHAPES: dict[str, Callable[[Rng, int], F64]] = {
    "flat": lambda rng, hours: np.zeros(hours),
    "growth": _growth,
    "growth_season": lambda rng, hours: (
        _growth(rng, hours) + np.exp(rng.uniform(np.log(0.05), np.log(1.0))) * _season(rng, hours)
    ),
    "season": lambda rng, hours: np.exp(rng.uniform(np.log(0.05), np.log(2.0))) * _season(rng, hours),
    "sawtooth": lambda rng, hours: rng.uniform(0.1, 1.0) * _teeth(rng, hours),
    "growth_sawtooth": lambda rng, hours: rng.uniform(0.05, 0.6) * _teeth(rng, hours) + _growth(rng, hours),
    "shift": _shifts,
    "plateau": _plateau,
    "batch": _batches,
    "walk": _walk,
    "bursts": _bursts,
}

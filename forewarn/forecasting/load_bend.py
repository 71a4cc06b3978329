"""How response time bends with load: at which load a signal reaches its limit, learned from its own past.

Queueing theory gives the shape: waiting grows as ρ^k / (1 − ρ) with the utilisation ρ = load / capacity, k of 1 for one
server (M/M/1, Pollaczek and Khinchine) and √(2(m + 1)) − 1 for m servers (Sakasegawa 1977). Every capacity and exponent
of a grid is fitted by weighted least squares and weighed by its likelihood, so what is not known shows as spread.
"""

from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

import forewarn.features  # noqa: F401 compiled code is kept by that package's rules

F64 = NDArray[np.float64]
B = NDArray[np.bool_]

_BEYOND = np.array([1.02, 1.06, 1.12, 1.2, 1.35, 1.6, 2.0, 3.0, 6.0])  # capacity, over the highest load seen
_EXPONENTS = np.array([1, 3])  # one server; about seven
_SHAPES = len(_BEYOND) * len(_EXPONENTS)
_INDEPENDENT = 20.0  # cells that count as independent at most: the shape itself is not sure
_HUBER = 2.0  # deviations from which on a cell counts less
_ROUNDS = 3  # of fitting and weighing anew
_HALF_LIFE = 72.0  # cells after which one counts half: services change
_LEAST_CELLS = 12
_LEAST_SPREAD = 1.3  # highest load over the lowest: of less nothing can be learned
_LEAST_EXPLAINED = 0.35  # share of the variance that load must explain
_LEAST_RISE = 0.1  # of the way to the limit that load took the signal so far
_FURTHEST = 2.0  # the critical load is believed up to so many times the highest load seen
_WIDEST = 1.6  # 90 % over 10 % quantile of the critical load from which on it is not known
_FULL = 0.999  # utilisation is held below
_NOTHING = 0.02  # of the limit, below which values do not differ
_BEFORE, _AFTER = 12, 6  # cells around an overload that say nothing about the bend: what caused it, what it left
_RECENT, _OFF = 6, 0.08  # newest cells, and how far off the bend they may be: share of the way to the limit


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """Of n signals: whether the relation holds, and the load at which each reaches its limit.

    critical: [n, 3], 10, 50 and 90 % quantile of that load, NaN where the relation is too weak; explained: [n], share
    of the variance that load explains; floor: [n], value without load; capacity: [n], load at which it would be
    infinite; seen: [n], highest load so far. In the units of the signals and loads; floor and capacity are those of
    the likeliest fit. NaN where nothing could be fitted.
    """

    critical: F64
    explained: F64
    floor: F64
    capacity: F64
    seen: F64

    @property
    def known(self) -> B:
        """Which relations are strong enough to be told: bool [n]."""
        strong: B = np.isfinite(self.critical[:, 1])
        return strong

    def of(self, which: B) -> "Bend":
        """The bends of some of the signals. which: bool [n]."""
        return Bend(*(getattr(self, f.name)[which] for f in fields(self)))


def fit_bend(load: F64, value: F64, limits: F64) -> Bend:
    """The bends of n signals. load, value: [n, N], means of the same cells, the newest last, NaN = missing.

    limits: [n]. Cells at or above the limit, and those around them, are left out: an overload says nothing about the
    bend before it.
    """
    count = len(load)
    errors, critical = np.empty((count, _SHAPES)), np.full((count, _SHAPES), np.inf)
    found = np.full((count, 7), np.nan)  # cells, explained, floor, capacity, highest load, rise, how far off it is now
    _fit_rows(load, value, limits, errors, critical, found)
    cells, explained, floor, capacity, seen, rise, off = found.T
    usable = np.isfinite(explained)
    quantiles = np.full((count, 3), np.nan)
    if usable.any():
        independent = np.minimum(0.5 * cells[usable, None], _INDEPENDENT)
        likelihood = -0.5 * independent * np.log(errors[usable])
        odds = np.exp(likelihood - likelihood.max(1, keepdims=True))
        quantiles[usable] = _quantiles(critical[usable], odds / odds.sum(1, keepdims=True))
    with np.errstate(invalid="ignore"):
        holds = (explained >= _LEAST_EXPLAINED) & (rise >= _LEAST_RISE) & (off <= _OFF)
        holds &= (quantiles[:, 1] <= _FURTHEST * seen) & (quantiles[:, 2] <= _WIDEST * quantiles[:, 0])
    return Bend(np.where(holds[:, None], quantiles, np.nan), explained, floor, capacity, seen)


def _quantiles(values: F64, odds: F64) -> F64:
    """10, 50 and 90 % quantile of each row's values with these probabilities: [n, 3]."""
    order = values.argsort(1)
    ordered, mass = np.take_along_axis(values, order, 1), np.take_along_axis(odds, order, 1).cumsum(1)
    places = [np.minimum((mass < q - 1e-9).sum(1), values.shape[1] - 1) for q in (0.1, 0.5, 0.9)]
    return np.stack([ordered[np.arange(len(values)), p] for p in places], 1)


@njit(cache=True)
def _waiting(utilisation: float, exponent: int) -> float:
    rho = min(utilisation, _FULL)
    power = rho
    for _ in range(exponent - 1):
        power *= rho
    return power / (1.0 - rho)


@njit(cache=True)
def _utilisation(waiting: float, exponent: int) -> float:
    """The inverse of `_waiting`, by halving."""
    low, high = 0.0, _FULL
    for _ in range(40):
        middle = (low + high) / 2
        if _waiting(middle, exponent) < waiting:
            low = middle
        else:
            high = middle
    return high


@njit(cache=True)
def _fit_rows(load: F64, value: F64, limits: F64, errors: F64, critical: F64, found: F64) -> None:
    """Fill errors and critical loads [n, K] and what was found [n, 7] for each signal that can be fitted."""
    width = load.shape[1]
    x, y, usual = np.empty(width), np.empty(width), np.empty(width)
    waiting = np.empty((_SHAPES, width))
    floors, slopes = np.empty(_SHAPES), np.empty(_SHAPES)
    for r in range(len(load)):
        n = 0
        for i in range(width):
            calm = not (value[r, max(i - _AFTER, 0) : i + 1 + _BEFORE] >= limits[r]).any()
            if load[r, i] > 0 and value[r, i] >= 0 and calm:
                x[n], y[n], usual[n] = load[r, i], value[r, i], 0.5 ** ((width - 1 - i) / _HALF_LIFE)
                n += 1
        if n < _LEAST_CELLS or x[:n].max() < _LEAST_SPREAD * x[:n].min():
            continue
        top, low = x[:n].max(), x[:n].min()
        for j in range(_SHAPES):
            for i in range(n):
                waiting[j, i] = _waiting(x[i] / (top * _BEYOND[j % len(_BEYOND)]), _EXPONENTS[j // len(_BEYOND)])
        floor = max(np.median(y[:n]), _NOTHING * limits[r])
        for i in range(n):
            usual[i] /= max(y[i], floor) ** 2  # what is large also varies more
        weight = usual[:n].copy()
        level = 0.0
        best = 0
        for turn in range(_ROUNDS):
            if turn:
                _weigh(waiting[best, :n], y[:n], usual[:n], floors[best], slopes[best], floor, weight)
            level = _least_squares(waiting[:, :n], y[:n], weight, floors, slopes, errors[r])
            best = int(errors[r].argmin())
        if not level > 0:
            continue
        capacity, exponent = top * _BEYOND[best % len(_BEYOND)], _EXPONENTS[best // len(_BEYOND)]
        for j in range(_SHAPES):
            errors[r, j] = max(errors[r, j] / level, 1e-6)
            if slopes[j] > 0:
                k = _EXPONENTS[j // len(_BEYOND)]
                full = _utilisation((limits[r] - floors[j]) / slopes[j], k)
                critical[r, j] = top * _BEYOND[j % len(_BEYOND)] * full
        before, after = _waiting(low / capacity, exponent), _waiting(top / capacity, exponent)
        rise = slopes[best] * (after - before) / (limits[r] - floors[best] - slopes[best] * before)
        found[r, 0], found[r, 1], found[r, 2] = n, 1.0 - errors[r, best], floors[best]
        found[r, 3], found[r, 4], found[r, 5] = capacity, top, rise
        found[r, 6] = _off(load[r], value[r], capacity, exponent, floors[best], slopes[best], limits[r])


@njit(cache=True)
def _off(load: F64, value: F64, capacity: float, exponent: int, floor: float, slope: float, limit: float) -> float:
    """How far the newest cells are off the bend (median), in shares of the way to the limit: it must hold for them,
    too. In an overload it cannot be told."""
    off, n = np.empty(_RECENT), 0
    for i in range(len(load) - 1, -1, -1):
        if n < _RECENT and load[i] > 0 and value[i] >= 0:
            expected = floor + slope * _waiting(load[i] / capacity, exponent)
            off[n] = (value[i] - min(expected, limit)) / (limit - floor) if value[i] < limit else 1.0
            n += 1
    return float(abs(np.median(off[:n])))


@njit(cache=True)
def _least_squares(waiting: F64, y: F64, weight: F64, floors: F64, slopes: F64, errors: F64) -> float:
    """Floor and slope, neither below 0, of y = floor + slope · waiting [K, n] for each shape, and their errors; the
    error of a level alone."""
    total, sy, syy = weight.sum(), (weight * y).sum(), (weight * y * y).sum()
    for j in range(_SHAPES):
        sg = sgg = sgy = 0.0
        for i in range(len(y)):
            g = waiting[j, i]
            sg += weight[i] * g
            sgg += weight[i] * g * g
            sgy += weight[i] * g * y[i]
        spread = sgg - sg * sg / total
        b = max((sgy - sg * sy / total) / spread, 0.0) if spread > 0 else 0.0
        a = (sy - b * sg) / total
        if a < 0:
            a, b = 0.0, sgy / sgg
        floors[j], slopes[j] = a, b
        errors[j] = max(syy - 2 * (a * sy + b * sgy) + a * a * total + 2 * a * b * sg + b * b * sgg, 0.0)
    return float(syy - sy * sy / total)


@njit(cache=True)
def _weigh(waiting: F64, y: F64, usual: F64, level: float, slope: float, least: float, weight: F64) -> None:
    """Make cells count less that the fit does not explain (Huber's weights), in place."""
    off = np.empty(len(y))
    for i in range(len(y)):
        expected = level + slope * waiting[i]
        off[i] = abs(y[i] - expected) / max(expected, least)
    most = _HUBER * 1.4826 * np.median(off)
    for i in range(len(y)):
        weight[i] = usual[i] * (most / off[i] if off[i] > most else 1.0)

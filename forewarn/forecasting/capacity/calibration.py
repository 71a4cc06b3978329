"""Intervals of capacity forecasts from errors at earlier origins, each series by its own and by those of its class.

Paths get quantiles of their errors (split conformal prediction), the direct quantiles are moved so that each held its
share (conformalised quantile regression). What a series has seen itself counts with its class as one mixed
distribution, and the class's errors are first brought to how wrong a series usually is: a series that is never wrong
is not given the intervals of one that often is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LEVELS, LOW, Floats

FEWEST = 5  # errors from which quantiles of them say something
_OWN = 30  # windows of a series' own that weigh as much as those of its class, for the direct quantiles
_CLASS = 6.0  # windows that the errors of the class weigh beside a series' own, for paths
_RATIO = 4.0  # windows that "as wrong as its class" weighs beside how wrong a series was
_POOL = (np.arange(20) + 0.5) / 20  # quantiles that stand for the errors of a class
_DIRECT = 60  # windows that weigh as much as what the direct quantiles learned from shapes
_NARROW = 0.1  # units added to a width: what hardly opens would turn any miss into a huge number of widths
_NONE = 1e-9


def offsets(errors: Floats, origins: Sequence[int]) -> tuple[Floats, Floats]:
    """Offsets of a class from errors at origins: [s, K, 13] of each series and [K, 13] of any other of the class.

    errors of paths: [O, s, K], truth less what was said; of direct quantiles [O, s, K, 13], in widths. NaN where the
    horizon was not seen to its end. Windows count as far as they do not overlap: those of a series are few far ahead.
    """
    if errors.ndim == 4:
        return _direct_offsets(errors, origins)
    own = np.zeros((*errors.shape[1:], len(LEVELS)))
    pooled = np.zeros(own.shape[1:])
    windows, wrong = windows_of(errors[:, 0], origins), _how_wrong(errors, origins)
    for k in range(errors.shape[2]):
        ended = np.isfinite(errors[:, 0, k])  # the same for all series of a length
        if ended.sum() * errors.shape[1] < FEWEST:
            own[:, k], pooled[k] = (own[:, k - 1], pooled[k - 1]) if k else (0.0, 0.0)
            continue
        each = errors[ended, :, k]
        usual = each / wrong
        pooled[k] = np.quantile(usual, LEVELS)
        own[:, k] = _mixed(each, np.quantile(usual, _POOL)[:, None] * wrong, windows[k] / _CLASS)
    return own, pooled


def with_offsets(added: Floats | None, said: Floats) -> Floats:
    """[O, S, K, 13] quantiles from said [O, S, K] of a path, or [O, S, K, 13] of the direct quantiles."""
    if said.ndim == 4:
        return said if added is None else np.sort(said + added * width(said), axis=-1)
    return np.sort(said[..., None] + (np.zeros(len(LEVELS)) if added is None else added), axis=-1)


def width(said: Floats) -> Floats:
    """[..., 1] of the 80 % interval of quantiles [..., 13], and a little."""
    return np.asarray((said[..., HIGH] - said[..., LOW] + _NARROW)[..., None])


def _direct_offsets(errors: Floats, origins: Sequence[int]) -> tuple[Floats, Floats]:
    """What each level lacked; taken for nothing where few windows tell it."""
    own, pooled = np.zeros(errors.shape[1:]), np.zeros(errors.shape[2:])
    windows = windows_of(errors[:, 0, :, 0], origins)
    for k in range(errors.shape[2]):
        ended = np.isfinite(errors[:, 0, k, 0])
        total = windows[k] * errors.shape[1]
        if ended.sum() * errors.shape[1] < FEWEST:
            continue
        each = errors[ended, :, k]
        levels = [(np.quantile(each[..., i], q, axis=0), np.quantile(each[..., i], q)) for i, q in enumerate(LEVELS)]
        pooled[k] = (
            np.array([of_all for _, of_all in levels]) * windows[k] / (windows[k] + 1) * total / (total + _DIRECT)
        )
        share = windows[k] / (windows[k] + _OWN)
        own[:, k] = share * np.stack([of_each for of_each, _ in levels], axis=1) + (1 - share) * pooled[k]
    return own, pooled


def windows_of(errors: Floats, origins: Sequence[int]) -> Floats:
    """[K] how many windows that do not overlap there are in errors [O, K] of one series."""
    seen = [np.array(origins)[np.isfinite(column)] for column in errors.T]
    return np.array([min((s[-1] - s[0]) / h, len(s)) if len(s) else 0.0 for s, h in zip(seen, HOURS, strict=True)])


def _how_wrong(errors: Floats, origins: Sequence[int]) -> Floats:
    """[s] mean error of each series over the usual one of its class, over all horizons, shrunk towards 1."""
    windows = windows_of(errors[:, 0], origins)
    told = windows > 0
    if not told.any():
        return np.ones(errors.shape[1])
    each = np.nanmean(np.abs(errors[:, :, told]), axis=0)
    usual = np.median(each, axis=0)
    usual = np.where(usual > 0, usual, each.mean(axis=0)) + _NONE
    ratio = (each / usual) @ windows[told] / windows[told].sum()
    most = windows.max()
    return np.asarray((most * ratio + _RATIO) / (most + _RATIO))


def _mixed(own: Floats, pool: Floats, weight: float) -> Floats:
    """[s, 13] quantiles of a mixture of own errors [o, s], of `weight` in all, and those of the class [p, s], of 1."""
    values = np.concatenate([own, pool])
    weights = np.concatenate([np.full(own.shape, weight / len(own)), np.full(pool.shape, 1 / len(pool))])
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    share = (np.cumsum(weights, axis=0) - 0.5 * weights) / weights.sum(axis=0)
    return np.stack([_at_level(values, share, level) for level in LEVELS], axis=1)


def _at_level(values: Floats, share: Floats, level: float) -> Floats:
    """[s] where share [n, s] reaches a level, straight lines between values [n, s]."""
    columns: NDArray[np.int64] = np.arange(values.shape[1])
    after = np.clip((share < level).sum(axis=0), 1, len(share) - 1)
    low, high = share[after - 1, columns], share[after, columns]
    part = np.clip((level - low) / np.maximum(high - low, _NONE), 0, 1)
    return np.asarray(values[after - 1, columns] + part * (values[after, columns] - values[after - 1, columns]))

"""Which kinds of signals do on the newest day what they did on no day of the training interval.

All rows pooled do not see it when a release changes one kind of signal: the others outnumber it. A day of one series
alone differs from the others by chance or by an incident. A kind has moved when most of its series have.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64, I64 = NDArray[np.float64], NDArray[np.int64]
LEVELS = np.linspace(0.025, 0.975, 20)
LEAST_ROWS, LEAST_DAYS, MOST_DAYS = 24, 4, 14  # of a series on a day; reference days, the newest of them
LEAST_SERIES = 4  # of a kind: of fewer, a chance day of two would be most of them
LEAST_DISTANCE = 0.3  # Wasserstein, in standard deviations of the reference
BEYOND = 1.2  # times the distance of the reference day that is farthest from the others
MOVED_FEATURES = 0.15  # of a series' features
MOVED_SERIES = 0.6  # of a kind's series


@dataclass(frozen=True, slots=True)
class MovedKind:
    """How many series of a kind of signal have moved."""

    signal: str
    moved: int
    series: int

    @property
    def share(self) -> float:
        """Of its series."""
        return self.moved / self.series

    def __str__(self) -> str:
        return f"{self.signal} of {self.moved} of {self.series} entities"


def quantiles_of_days(features: F64, day: I64, days: I64) -> F64:
    """Quantiles [D, Q, F] of one series' features [n, F] on each of `days`; NaN where a day has too few rows."""
    out = np.full((len(days), len(LEVELS), features.shape[1]), np.nan)
    for k, each in enumerate(days):
        rows = np.sort(features[day == each], axis=0)  # NaN come last
        known = np.isfinite(rows).sum(axis=0)
        if len(rows) < LEAST_ROWS:
            continue
        at = LEVELS[:, None] * np.maximum(known - 1, 0)
        found = np.take_along_axis(rows, np.rint(at).astype(np.int64), axis=0)
        out[k] = np.where(known >= LEAST_ROWS, found, np.nan)
    return out


def moved_features(reference: F64, newest: F64) -> float:
    """Share of the features whose newest day lies farther from the reference days than any of those from the others.

    reference: quantiles [D, Q, F]; newest: [Q, F]. The distance is Wasserstein's to the barycentre of the days, which
    in one dimension is the mean of their quantiles. NaN where there are too few days to say.
    """
    reference = reference[np.isfinite(reference).any(axis=(1, 2))]
    if len(reference) < LEAST_DAYS:
        return float("nan")
    total = reference.sum(axis=0)
    others = (total - reference) / (len(reference) - 1)
    usual = np.abs(reference - others).mean(axis=1).max(axis=0)
    distance = np.abs(newest - total / len(reference)).mean(axis=0)
    spread = reference.std(axis=(0, 1))
    known = np.isfinite(distance) & np.isfinite(usual) & (spread > 0)
    moved = known & (distance >= LEAST_DISTANCE * spread) & (distance > BEYOND * usual)
    return float(moved.sum() / known.sum()) if known.any() else float("nan")


def moved_kinds(features: F64, series: I64, day: I64, reference_until: int, signals: list[str]) -> list[MovedKind]:
    """Kinds of signals by how much of them has moved, the most first.

    features: [n, F]; series, day: [n], index into `signals` and number of the day; the newest day is the last one.
    reference_until: days before this one are of the training interval.
    """
    newest = int(day.max())
    days = np.unique(day[day < reference_until])[-MOST_DAYS:]
    counts: dict[str, list[bool]] = {}
    for k in range(len(signals)):
        own = series == k
        quantiles = quantiles_of_days(features[own], day[own], np.append(days, newest))
        share = moved_features(quantiles[:-1], quantiles[-1])
        if np.isfinite(share):
            counts.setdefault(signals[k], []).append(share >= MOVED_FEATURES)
    kinds = [MovedKind(name, sum(moved), len(moved)) for name, moved in counts.items() if len(moved) >= LEAST_SERIES]
    return sorted(kinds, key=lambda kind: -kind.share)

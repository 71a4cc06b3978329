"""Candidates compete in a backtest of the past, and the best serves each class of signal."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.conformal import origins_between
from forewarn.forecasting.forecaster import MEDIAN, TINY, Floats, Forecaster, Seasons, ordered, pinball

CLASSES = ("flat", "drifting", "seasonal", "bursty", "irregular")
ALL = "median_of_all"
_TEAMS = (3, 5)
_GAIN = 0.98  # what differs by less is taken for chance
_TELLING = 4  # series from which a winner may be more than chance
_ERRORS = 2.0  # standard errors by which it must be ahead of the median of all
_STRETCH = (0.7, 1.6)  # bounds of what intervals are stretched by
_LEAST_ORIGINS = 4  # fewer decide nothing


@dataclass(frozen=True, slots=True)
class Standing:
    """How the candidates did on the past of one class and band: geometric mean of CRPS relative to the simplest's."""

    signal_class: str
    first_step: int
    last_step: int
    series: int
    chosen: str
    relative_crps: Mapping[str, float]


def class_of(past: Floats, seasons: Seasons) -> NDArray[np.int64]:
    """[S] index into CLASSES, from the past alone.

    flat: nine of ten cells equal the one before. drifting: the medians of quarters of the past rise or fall all the
    way, by more than the scatter within them. seasonal: what was seen a day before tells more than the median.
    bursty: the 99.5 % quantile lies more than eight interquartile ranges off the median.
    """
    result = np.full(len(past), CLASSES.index("irregular"))
    low, middle, high, far_low, far = np.quantile(past, [0.25, 0.5, 0.75, 0.005, 0.995], axis=1)
    spread = high - low
    bursty = np.maximum(far - middle, middle - far_low) > 8 * spread + TINY
    result[bursty] = CLASSES.index("bursty")
    result[_seasonal(past, seasons.day, middle)] = CLASSES.index("seasonal")
    result[_drifting(past)] = CLASSES.index("drifting")
    still = (np.diff(past, axis=1) == 0).mean(axis=1) >= 0.9
    result[still] = CLASSES.index("flat")
    return result


def _seasonal(past: Floats, day: int, middle: Floats) -> NDArray[np.bool_]:
    if past.shape[1] < 3 * day:
        return np.zeros(len(past), dtype=np.bool_)
    change = np.abs(past[:, day:] - past[:, :-day]).mean(axis=1)
    return np.asarray(change < 0.8 * np.abs(past - middle[:, None]).mean(axis=1))


def _drifting(past: Floats) -> NDArray[np.bool_]:
    if past.shape[1] < 16:
        return np.zeros(len(past), dtype=np.bool_)
    quarters = np.array_split(past, 4, axis=1)
    medians = np.stack([np.median(q, axis=1) for q in quarters], axis=1)
    scatter = np.median([np.quantile(q, 0.75, axis=1) - np.quantile(q, 0.25, axis=1) for q in quarters], axis=0)
    steps = np.diff(medians, axis=1)
    one_way = (steps > 0).all(axis=1) | (steps < 0).all(axis=1)
    return np.asarray(one_way & (np.abs(medians[:, -1] - medians[:, 0]) > 1.5 * scatter))


class Competition:
    """A forecaster that lets its candidates forecast the last part of the past and keeps the best per class.

    Which serves is decided for each class of signal and each band of steps ahead. Beside the candidates take part the
    medians of the quantiles of all of them and of the best few: a candidate that is far off in a time of change does
    not pull a median along. The first candidate is the simplest and serves where none beats it. What is learned for
    the contest comes from the cells before its part.
    """

    name = "forewarn"

    def __init__(self, candidates: Sequence[Forecaster], seasons: Seasons, origins: int = 24) -> None:
        self._candidates = {candidate.name: candidate for candidate in candidates}
        if len(self._candidates) < len(candidates):
            raise ValueError(f"candidates need names of their own: {[candidate.name for candidate in candidates]}")
        self._simplest = candidates[0].name
        self._seasons = seasons
        self._origins = origins
        self.standings: list[Standing] = []

    def learn(self, past: Floats, steps: int) -> None:
        """past [S, T] without missing cells."""
        self._class = class_of(past, self._seasons)
        self._bands = bands(steps)
        self._members: dict[tuple[int, int], list[str]] = {}
        self._stretch: dict[tuple[int, int], float] = {}
        self.standings = []
        first = past.shape[1] * 7 // 10
        origins = origins_between(first, past.shape[1] - steps, self._origins)
        if len(origins) >= _LEAST_ORIGINS:
            self._contest(past, first, origins, steps)
        for name in sorted({name for members in self._members.values() for name in members} | {self._simplest}):
            self._candidates[name].learn(past, steps)

    @property
    def classes(self) -> list[str]:
        """The class of each series that was learned."""
        return [CLASSES[index] for index in self._class]

    def forecast(self, past: Floats, steps: int) -> Floats:
        """[S, steps, 9]."""
        needed = {name for members in self._members.values() for name in members} | {self._simplest}
        said = {name: self._candidates[name].forecast(past, steps) for name in sorted(needed)}
        result = said[self._simplest].copy()
        for (index, band), members in self._members.items():
            rows, ahead = np.flatnonzero(self._class == index), self._bands[band]
            part = [said[name][rows, ahead] for name in members]
            result[rows, ahead] = stretched(np.median(part, axis=0), self._stretch[index, band])
        return ordered(result)

    def _contest(self, past: Floats, first: int, origins: Sequence[int], steps: int) -> None:
        """Decide from forecasts of the cells from `first` on, learned before it."""
        said = {}
        came = np.stack([past[:, at : at + steps] for at in origins])
        for name, candidate in self._candidates.items():
            candidate.learn(past[:, :first], steps)
            said[name] = np.stack([candidate.forecast(past[:, :at], steps) for at in origins])
        for index in np.unique(self._class):
            rows = np.flatnonzero(self._class == index)
            for band, ahead in enumerate(self._bands):
                part = {name: quantiles[:, rows, ahead] for name, quantiles in said.items()}
                self._decide(int(index), band, part, came[:, rows, ahead])

    def _decide(self, index: int, band: int, said: Mapping[str, Floats], came: Floats) -> None:
        """Members for one class and band, from said {name: [O, s, h, 9]} and came [O, s, h]."""
        crps = {name: _crps(quantiles, came) for name, quantiles in said.items()}
        relative = {name: geometric_ratio(error, crps[self._simplest]) for name, error in crps.items()}
        ranked = sorted(relative, key=lambda name: relative[name])
        teams = {f"median_of_{size}": ranked[:size] for size in _TEAMS if size < len(ranked)}
        teams[ALL] = list(said)
        for team, names in teams.items():
            crps[team] = _crps(np.median([said[name] for name in names], axis=0), came)
            relative[team] = geometric_ratio(crps[team], crps[self._simplest])
        chosen = self._surely(crps, relative)
        members = teams.get(chosen, [chosen])
        self._members[index, band] = members
        self._stretch[index, band] = stretch_of(np.median([said[name] for name in members], axis=0), came)
        ahead = self._bands[band]
        self.standings.append(Standing(CLASSES[index], ahead.start + 1, ahead.stop, came.shape[1], chosen, relative))

    def _surely(self, crps: Mapping[str, Floats], relative: Mapping[str, float]) -> str:
        """The best, unless that may be chance: then the median of all, and the simplest where that gains nothing."""
        best = min(relative, key=lambda name: relative[name])
        gain = np.log((crps[ALL] + TINY) / (crps[best] + TINY))
        sure = len(gain) >= _TELLING and gain.mean() > _ERRORS * gain.std(ddof=1) / np.sqrt(len(gain))
        chosen = best if sure else ALL
        return chosen if relative[chosen] < _GAIN else self._simplest


def bands(steps: int) -> list[slice]:
    """Steps up to a 24th, a quarter and the whole of the way: of 24 h at hours the first, up to 6 h, and the rest."""
    ends = sorted({-(-steps // 24), -(-steps // 4), steps})
    return [slice(start, end) for start, end in itertools.pairwise([0, *ends])]


def stretch_of(said: Floats, came: Floats) -> float:
    """What the 80 % intervals of said [..., 9] must be stretched by, about their medians, to hold 80 % of came [...].

    The square root of it (half on a log scale), within bounds: the part of the past it comes from is short.
    """
    off = came - said[..., MEDIAN]
    half = np.where(off > 0, said[..., -1] - said[..., MEDIAN], said[..., MEDIAN] - said[..., 0])
    says = half > 1e-9 * np.abs(said[..., MEDIAN]) + TINY
    if says.sum() < _TELLING:
        return 1.0
    needed = float(np.quantile(np.abs(off[says]) / half[says], 0.8))
    return float(np.clip(np.sqrt(needed), *_STRETCH))


def stretched(said: Floats, by: float) -> Floats:
    """Quantiles [..., 9] moved away from their median by a factor."""
    middle = said[..., MEDIAN : MEDIAN + 1]
    return middle + (said - middle) * by


def _crps(quantiles: Floats, came: Floats) -> Floats:
    """[s] mean over origins and steps."""
    return np.asarray(pinball(quantiles, came).mean(axis=(0, 2)))


def geometric_ratio(error: Floats, reference: Floats) -> float:
    """Geometric mean of ratios, each held within 0.01 and 100; where both are zero a series says nothing."""
    says = (error > 0) | (reference > 0)
    if not says.any():
        return 1.0
    ratio = error[says] / np.where(reference[says] > 0, reference[says], TINY)
    return float(np.exp(np.log(np.clip(ratio, 0.01, 100.0)).mean()))

"""Forecasts of signals held against what came: error and CRPS relative to seasonal naive, beside AutoETS and AutoARIMA.

Protocol: docs/evaluation/forecasts.md. Everything that is learned, chosen or calibrated comes from the first 70 % of a
series; forecasts are made from rolling origins in the rest, each from the cells before it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.forecast_baselines import statistical_forecasts
from forewarn.evaluation.datasets.forecast_series import SignalSeries, read_jumpstarter, read_tables
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options
from forewarn.forecasting.candidates import candidates
from forewarn.forecasting.competition import Competition, Standing, geometric_ratio
from forewarn.forecasting.conformal import Calibrated, origins_between
from forewarn.forecasting.forecaster import MEDIAN, Forecaster, PointForecaster, Seasons, pinball
from forewarn.forecasting.neural import filled
from forewarn.forecasting.simple import Drift, Naive, SeasonalNaive

Floats = NDArray[np.float64]
Read = Callable[[Path, float], list[SignalSeries]]
TEST_SHARE = 0.3
HORIZON_HOURS = (1, 6, 24)
MOST_FORECASTS, FEWEST_ORIGINS, MOST_ORIGINS = 400, 12, 72  # origins times series: a run must end within minutes
FEW_SERIES, RELEARNED = 8, 4  # so few series are learned so often on their way through the test part
_FEWEST_CELLS = 4  # of a past from which anything can be learned
GOAL = 0.75
OWN, REFERENCE = "forewarn", "seasonal_naive"
BESIDE = ("auto_ets", "auto_arima", "naive", "drift")
READERS: Mapping[str, tuple[Read, float]] = {
    "jumpstarter": (read_jumpstarter, 3600.0),
    "web_request_rates": (read_tables, 3600.0),
    "llm_server_aging": (read_tables, 300.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What one forecaster got wrong on one series up to one horizon: mean absolute error, CRPS, share within 80 %."""

    error: float
    crps: float
    inside: float


@dataclass(frozen=True, slots=True, eq=False)
class SeriesScores:
    """scores: {(forecaster, horizon in hours): Score} of one series."""

    series: SignalSeries
    signal_class: str
    scores: Mapping[tuple[str, int], Score]


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """Scaled error, CRPS and coverage of the forecasts of the signals in `data`."""
    read, step_seconds = READERS[name]
    return forecast_reports(read(data, step_seconds), options)


def forecast_report(data: Path, options: Options) -> list[DatasetReport]:
    """Of JumpStarter's metrics; what its evaluation of anomalies appends."""
    return evaluate("jumpstarter", data, options)


def forecast_reports(series: Sequence[SignalSeries], options: Options) -> list[DatasetReport]:
    """Series of one length are forecast together; one report a metric. Raises DatasetError where none can be."""
    rows: list[SeriesScores] = []
    standings: list[Standing] = []
    ordered = sorted(series, key=_shape)
    for _, group in itertools.groupby(ordered, key=_shape):
        scored, stood = _scored(list(group), options)
        rows += scored
        standings += stood
    if not rows:
        raise DatasetError("no series varies and is long enough (three hours) for a forecast to be held against it")
    notes = _notes(len(series) - len(rows), standings)
    return [
        _relative_report("forecast error (MASE) relative to seasonal naive", "error", rows, notes),
        _relative_report("CRPS relative to seasonal naive", "crps", rows, notes),
        _coverage_report(rows),
    ]


def _shape(one: SignalSeries) -> tuple[int, float]:
    return len(one.values), one.step_seconds


def _scored(group: Sequence[SignalSeries], options: Options) -> tuple[list[SeriesScores], Sequence[Standing]]:
    """Scores of series of one length whose past varies, and how the candidates stood."""
    values = np.stack([one.values for one in group])
    first = int(values.shape[1] * (1 - TEST_SHARE))
    step_seconds = group[0].step_seconds
    hours = horizons(values.shape[1] - first, step_seconds)
    if not hours or first < _FEWEST_CELLS:
        return [], []
    past = filled(values[:, :first])
    varies = np.ptp(past, axis=1) > 1e-9 * np.abs(past).max(axis=1, initial=0.0)
    if not varies.any():
        return [], []
    values, kept = values[varies], [one for one, good in zip(group, varies, strict=True) if good]
    steps = round(hours[-1] * 3600 / step_seconds)
    origins = origins_between(first, values.shape[1] - steps, _origins(len(values)))
    own, said = all_forecasts(values, origins, steps, step_seconds, options)
    came = np.stack([values[:, at : at + steps] for at in origins])
    classes = own.classes
    rows = []
    for i, one in enumerate(kept):
        scores = {
            (name, hour): score(quantiles[:, i, : _cells(hour, step_seconds)], came[:, i, : _cells(hour, step_seconds)])
            for name, quantiles in said.items()
            for hour in hours
        }
        if scores[REFERENCE, hours[-1]].error > 0:
            rows.append(SeriesScores(one, classes[i], scores))
    return rows, own.standings


def horizons(test_cells: int, step_seconds: float) -> list[int]:
    """Hours of HORIZON_HOURS that leave at least half of the test part for origins."""
    return [hour for hour in HORIZON_HOURS if 2 <= 2 * _cells(hour, step_seconds) <= test_cells]


def _origins(series: int) -> int:
    return int(np.clip(MOST_FORECASTS // series, FEWEST_ORIGINS, MOST_ORIGINS))


def _cells(hours: int, step_seconds: float) -> int:
    return round(hours * 3600 / step_seconds)


def all_forecasts(
    values: Floats, origins: Sequence[int], steps: int, step_seconds: float, options: Options
) -> tuple[Competition, dict[str, Floats]]:
    """The competition, and {forecaster: quantiles [O, S, steps, 9]}, from values [S, T] before each origin alone.

    Everyone learns on the cells before the first origin, and again at later ones where few series leave time for it.
    """
    seasons = Seasons.of(step_seconds)
    chunks: list[dict[str, Floats]] = []
    learnings = RELEARNED if len(values) <= FEW_SERIES else 1
    for some in np.array_split(np.array(origins), min(learnings, len(origins))):
        own = Competition(candidates(seasons, int(some[0]), options.seed), seasons)
        chunks.append(_chunk(own, values, [int(at) for at in some], steps, seasons, options))
    return own, {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _chunk(
    own: Forecaster, values: Floats, origins: Sequence[int], steps: int, seasons: Seasons, options: Options
) -> dict[str, Floats]:
    """Forecasts from origins that share what is learned before the first of them."""
    simple: list[PointForecaster] = [SeasonalNaive(seasons.day), Naive(), Drift(seasons.day)]
    forecasters = [own, *(Calibrated(point, seasons.day) for point in simple)]
    pasts = [filled(values[:, :at]) for at in origins]
    said = {}
    for name, forecaster in zip((OWN, REFERENCE, "naive", "drift"), forecasters, strict=True):
        forecaster.learn(pasts[0], steps)
        said[name] = np.stack([forecaster.forecast(past, steps) for past in pasts])
    options.say(f"{OWN}: {len(values)} series from {len(origins)} origins")
    rolled = []
    for i in range(len(values)):
        rolled.append(statistical_forecasts([past[i] for past in pasts], steps, seasons.day))
        options.say(f"auto_ets, auto_arima: {i + 1} of {len(values)} series")
    return said | {name: np.stack([one[name] for one in rolled], axis=1) for name in rolled[0]}


def score(said: Floats, came: Floats) -> Score:
    """From said [O, h, 9] and came [O, h], over cells that were measured."""
    known = np.isfinite(came)
    if not known.any():
        return Score(0.0, 0.0, float("nan"))
    inside = (said[..., 0] <= came) & (came <= said[..., -1])
    error, crps = np.abs(said[..., MEDIAN] - came), pinball(said, came)
    return Score(float(error[known].mean()), float(crps[known].mean()), float(inside[known].mean()))


def _relative_report(metric: str, what: str, rows: Sequence[SeriesScores], notes: Sequence[str]) -> DatasetReport:
    parts = [
        {
            "part": f"{by}{key}",
            "value": _relative(group, OWN, what, hour),
            "baselines": {name: _relative(group, name, what, hour) for name in (*BESIDE, REFERENCE)},
            "series": len(group),
        }
        for by, key, hour, group in _groups(rows)
    ]
    overall = {name: _relative(rows, name, what, None) for name in (OWN, *BESIDE, REFERENCE)}
    value = overall.pop(OWN)
    return DatasetReport(metric, value, overall, parts, goal=GOAL, higher_is_better=False, notes=notes)


def _groups(rows: Sequence[SeriesScores]) -> list[tuple[str, str, int | None, list[SeriesScores]]]:
    """Rows by horizon, by class of signal and by signal."""
    hours = sorted({hour for row in rows for _, hour in row.scores})
    groups: list[tuple[str, str, int | None, list[SeriesScores]]] = [
        ("up to ", f"{hour} h", hour, [row for row in rows if (OWN, hour) in row.scores]) for hour in hours
    ]
    for by, keys in (("class ", [r.signal_class for r in rows]), ("", [r.series.signal for r in rows])):
        for one in sorted(set(keys)):
            groups.append((by, one, None, [row for row, key in zip(rows, keys, strict=True) if key == one]))
    return groups


def _relative(rows: Sequence[SeriesScores], name: str, what: str, hour: int | None) -> float:
    """Geometric mean over series, and over horizons where none is named."""
    pairs = [
        (getattr(row.scores[name, h], what), getattr(row.scores[REFERENCE, h], what))
        for row in rows
        for forecaster, h in row.scores
        if forecaster == name and hour in (None, h)
    ]
    error, reference = np.array(pairs).T
    return geometric_ratio(error, reference)


def _coverage_report(rows: Sequence[SeriesScores]) -> DatasetReport:
    """Share of what came within the 80 % interval, over all steps to the farthest horizon of a series."""

    def share(name: str, group: Sequence[SeriesScores], hour: int | None) -> float:
        farthest = [row.scores[name, hour or max(h for _, h in row.scores)].inside for row in group]
        return float(np.nanmean(farthest))

    names = (*BESIDE, REFERENCE)
    parts = [
        {
            "part": f"{by}{key}",
            "value": share(OWN, group, hour),
            "baselines": {name: share(name, group, hour) for name in names},
        }
        for by, key, hour, group in _groups(rows)
    ]
    beside = {name: share(name, rows, None) for name in names}
    return DatasetReport("coverage of the 80 % interval", share(OWN, rows, None), beside, parts)


def _notes(left_out: int, standings: Sequence[Standing]) -> list[str]:
    served: dict[str, int] = {}
    for one in standings:
        key = f"{one.signal_class}, steps {one.first_step} to {one.last_step}: {one.chosen}"
        served[key] = served.get(key, 0) + one.series
    return [
        "Learned, chosen and calibrated on the first 70 % of each series; rolling origins in the rest. Geometric mean "
        "over series and horizons (1 h, 6 h, 24 h where the test part is twice as long).",
        "AutoETS and AutoARIMA (season of a day at hourly cells, none at finer ones) are fitted when ours is "
        "and brought up to date at each origin.",
        "Served: " + "; ".join(f"{key} ({count} series)" for key, count in sorted(served.items())),
        *([f"{left_out} series left out: constant, or never wrong by seasonal naive"] if left_out else []),
    ]

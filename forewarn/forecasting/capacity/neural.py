"""NeuralProphet as a candidate for capacities: one model over all series, days ahead, with user activity beside it.

It learns in cells of six hours (the highest of each), a week of them as lags and a week ahead. Where an entity's
load is known, it is a lagged regressor: what a series did as the load moved. Every series is measured from its own
mean in its own deviations: a disk that goes from 70 to 75 % would otherwise hardly move at all.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.capacity.horizons import FARTHEST, HOURS, Floats
from forewarn.forecasting.neural import filled, frequency, quiet

Rows = NDArray[np.int64]
CELL_HOURS = 6
LAGS, AHEAD = 28, FARTHEST // CELL_HOURS  # a week of lags, a week ahead
MOST_SERIES = 48
SHORTEST = (LAGS + AHEAD + 14) * CELL_HOURS  # hours of past below which there is too little to learn from


@dataclass(eq=False)
class NeuralMaxima:
    """Candidate `neural_prophet`. load [S, T]: hourly user activity beside each series of the contest, NaN without.

    deadline: of time.monotonic(), after which it does not take part any more. Where it does not, it says the last
    cell, and `reason` says why.
    """

    load: Floats
    start_ns: int
    deadline: float
    epochs: int = 60
    learning_rate: float = 0.03
    seed: int = 0
    name: str = "neural_prophet"
    reason: str = ""

    def __post_init__(self) -> None:
        self._model: Any = None
        self._regressor = False

    def learn(self, past: Floats, rows: Rows) -> None:
        """Fit to past [s, t] of the series `rows`. What took part in the contest and won is fitted again, whatever the
        time."""
        if past.shape[1] < SHORTEST:
            self.reason = f"{past.shape[1]} h of history are too few: {SHORTEST} h are asked for"
        elif self._model is None and time.monotonic() > self.deadline:
            self.reason = "its time is spent"
        else:
            try:
                self._fit(past, rows)
            except (ValueError, RuntimeError, KeyError) as error:
                self._model, self.reason = None, f"it could not learn: {error}"

    def maxima(self, past: Floats, rows: Rows) -> Floats:
        """[S, K]."""
        if self._model is None or past.shape[1] < LAGS * CELL_HOURS:
            return np.repeat(past[:, -1:], len(HOURS), axis=1)
        size = LAGS * CELL_HOURS
        end = past.shape[1]
        middle, spread = _measures(past)
        recent = (_cells(past[:, -size:]) - middle) / spread
        frame = self._frame(recent, _cells(self._load(rows, end)[:, -size:]), end - size)
        with quiet():
            future = self._model.make_future_dataframe(frame, periods=AHEAD, n_historic_predictions=0)
            said = self._model.predict(future, decompose=False)
        columns = [f"yhat{k + 1}" for k in range(AHEAD)]
        block = said[columns].to_numpy(np.float64).reshape(len(past), -1, AHEAD)
        k = np.arange(AHEAD)
        path = middle + np.nan_to_num(block[:, -AHEAD + k, k]) * spread
        return _at_hours(np.maximum.accumulate(path, axis=1), past[:, -1])

    def _fit(self, past: Floats, rows: Rows) -> None:
        some = np.unique(np.linspace(0, len(past) - 1, min(len(past), MOST_SERIES)).astype(np.int64))
        size = past.shape[1] // CELL_HOURS * CELL_HOURS
        middle, spread = _measures(past[some])
        cells = (_cells(past[some, -size:]) - middle) / spread
        load = _cells(self._load(rows[some], past.shape[1])[:, -size:])
        with quiet():
            from neuralprophet import NeuralProphet, set_random_seed

            set_random_seed(self.seed)
            model = NeuralProphet(
                n_lags=LAGS, n_forecasts=AHEAD, growth="off", normalize="off",
                # lags of a week carry both seasons; cells end at the hour that is asked, so an origin's time of day
                # may be one that was never learned, and a daily season of six-hour cells is anything there
                yearly_seasonality=False, weekly_seasonality=False, daily_seasonality=False,
                learning_rate=self.learning_rate, epochs=self.epochs, batch_size=64, collect_metrics=False,
                trainer_config={"logger": False, "enable_checkpointing": False, "enable_progress_bar": False},
            )  # fmt: skip
            self._regressor = bool(np.ptp(load) > 0)  # NeuralProphet refuses to predict with one that never changed
            if self._regressor:
                model.add_lagged_regressor("load", n_lags=4, normalize="off")
            frame = self._frame(cells, load, past.shape[1] - size)
            model.fit(frame, freq=frequency(CELL_HOURS * 3600.0), progress=None, minimal=True)
        self._model = model

    def _load(self, rows: Rows, end: int) -> Floats:
        """[s, end] activity relative to its mean; one where none is known."""
        load = self.load[rows, :end]
        known = np.isfinite(load).mean(axis=1) >= 0.5
        result = np.ones_like(load)
        result[known] = filled(load[known]) / _level(filled(load[known]))
        return result

    def _frame(self, cells: Floats, load: Floats, start_hour: int) -> Any:
        import pandas as pd

        times = pd.to_datetime(
            self.start_ns + start_hour * 3_600_000_000_000 + np.arange(cells.shape[1]) * CELL_HOURS * 3_600_000_000_000
        )
        names = np.repeat([f"{i:05d}" for i in range(len(cells))], cells.shape[1])
        stamps = np.tile(times.to_numpy(), len(cells))
        columns = {"ID": names, "ds": stamps, "y": cells.ravel()}
        return pd.DataFrame(columns | ({"load": load.ravel()} if self._regressor else {}))


def _cells(values: Floats) -> Floats:
    """[S, C] highest of each six hours."""
    return values.reshape(len(values), -1, CELL_HOURS).max(axis=2)


def _measures(past: Floats) -> tuple[Floats, Floats]:
    """[S, 1] mean and deviation of each series; the deviation of one that never moves is its size."""
    middle, spread = past.mean(axis=1, keepdims=True), past.std(axis=1, keepdims=True)
    return middle, np.where(spread > 1e-9 * np.abs(middle), spread, _level(past))


def _level(values: Floats) -> Floats:
    size = np.abs(values).mean(axis=1, keepdims=True)
    return np.asarray(np.where(size > 0, size, 1.0))


def _at_hours(highest: Floats, last: Floats) -> Floats:
    """[S, K] from running maxima at the ends of cells, straight lines between, from the last cell on."""
    ends = np.arange(highest.shape[1] + 1) * CELL_HOURS
    rows = [np.interp(HOURS, ends, [now, *row]) for row, now in zip(highest, last, strict=True)]
    return np.array(rows)

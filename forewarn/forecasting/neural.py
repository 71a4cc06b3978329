"""Forecast of load signals by NeuralProphet: one model over several series, with daily and weekly seasons."""

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
QUANTILES = (0.1, 0.5, 0.9)
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, eq=False)
class NeuralForecaster:
    """Quantiles of the next `steps` values of a series from its last `lags` values.

    A series is scaled by its own mean, so that the model serves series that it never saw. `lags` should cover a whole
    day: only then is the mean the same at noon and at midnight.
    """

    model: Any  # neuralprophet.NeuralProphet
    lags: int
    steps: int
    step_seconds: float

    @classmethod
    def fit(
        cls,
        values: NDArray[np.floating[Any]],
        start_ns: int,
        step_seconds: float,
        *,
        lags: int = 96,
        steps: int = 24,
        epochs: int = 30,
        seed: int = 0,
    ) -> "NeuralForecaster":
        """Learn from `values` [S, C] (NaN = missing), cells of `step_seconds` from `start_ns` on.

        Raises ValueError where no series has three windows of lags and steps.
        """
        values = np.asarray(values, dtype=np.float64)
        usable = values[_has_values(values) & (values.shape[1] >= 3 * (lags + steps))]
        if len(usable) == 0:
            raise ValueError(
                f"no series to learn a forecast from: each needs at least {3 * (lags + steps)} cells, "
                f"at least half of them with values; {values.shape[1]} cells were given"
            )
        scaled = filled(usable) / _level(usable)
        with quiet():
            from neuralprophet import NeuralProphet, set_random_seed

            set_random_seed(seed)
            days = values.shape[1] * step_seconds / DAY_SECONDS
            model = NeuralProphet(
                n_lags=lags,
                n_forecasts=steps,
                quantiles=[QUANTILES[0], QUANTILES[2]],
                growth="off",  # a trend fitted to two weeks runs away; lags carry the level
                daily_seasonality=6 if days >= 2 else False,
                weekly_seasonality=3 if days >= 28 else False,  # a week seen once or twice is no season
                yearly_seasonality=False,
                normalize="off",
                learning_rate=0.05,
                epochs=epochs,
                batch_size=256,
                collect_metrics=False,
                trainer_config={"logger": False, "enable_checkpointing": False, "enable_progress_bar": False},
            )
            frame = _frame(scaled, start_ns, step_seconds)
            model.fit(frame, freq=frequency(step_seconds), progress=None, minimal=True)
        return cls(model, lags, steps, step_seconds)

    def forecast(self, history: NDArray[np.floating[Any]], end_ns: int) -> Floats:
        """[S, steps, 3]: the 10, 50 and 90 % quantiles that follow `history` [S, lags], whose last cell begins at
        `end_ns`. NaN where a history holds less than half of its values."""
        history = np.asarray(history, dtype=np.float64)
        if history.ndim != 2 or history.shape[1] != self.lags:
            raise ValueError(f"history of shape {history.shape} given, the model needs [series, {self.lags}]")
        result = np.full((len(history), self.steps, len(QUANTILES)), np.nan)
        good = _has_values(history)
        if not good.any():
            return result
        level = _level(history[good])
        start = end_ns - round((self.lags - 1) * self.step_seconds * 1e9)
        frame = _frame(filled(history[good]) / level, start, self.step_seconds)
        with quiet():
            future = self.model.make_future_dataframe(frame, periods=self.steps, n_historic_predictions=0)
            predicted = self.model.predict(future, decompose=False)
        result[good] = np.sort(self._diagonals(predicted, int(good.sum())), axis=2) * level[:, :, None]
        return result

    def _diagonals(self, predicted: "pd.DataFrame", series: int) -> Floats:
        """[S, steps, 3] from NeuralProphet's frame, where the k-th step ahead stands in column yhat{k}, row k."""
        ahead = range(1, self.steps + 1)
        columns = [[f"yhat{k} 10.0%" for k in ahead], [f"yhat{k}" for k in ahead], [f"yhat{k} 90.0%" for k in ahead]]
        rows = [predicted[names].to_numpy(np.float64).reshape(series, -1, self.steps) for names in columns]
        k = np.arange(self.steps)
        return np.stack([block[:, -self.steps + k, k] for block in rows], axis=2)

    def save(self, folder: Path) -> None:
        """Write `neural.np` (a torch pickle: whoever loads it checks its checksum first) and `neural.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            from neuralprophet import save

            save(self.model, str(folder / "neural.np"))
        state = {"lags": self.lags, "steps": self.steps, "step_seconds": self.step_seconds}
        (folder / "neural.json").write_text(json.dumps(state, indent=1))

    @classmethod
    def load(cls, folder: Path) -> "NeuralForecaster":
        """Read what `save` wrote. Only files from our own store, whose checksum was compared, may come here."""
        state = json.loads((folder / "neural.json").read_text())
        with quiet():
            import torch
            from neuralprophet.utils import configure_trainer

            model = torch.load(folder / "neural.np", map_location="cpu", weights_only=False)
            # neuralprophet.load would restore a trainer with a progress bar that writes to stdout
            model.trainer, _ = configure_trainer(
                model.config_train, model.trainer_config, None, accelerator="cpu", progress_bar_enabled=False
            )
        return cls(model, state["lags"], state["steps"], state["step_seconds"])


def seasonal_naive(values: NDArray[np.floating[Any]], at: int, steps: int, season: int) -> Floats:
    """[S, steps]: what `values` [S, C] were one season before each of the cells at, at + 1, …: the baseline.

    Only cells before `at` are read.
    """
    ahead = at + np.arange(steps)
    source = ahead - season * ((ahead - at) // season + 1)
    return np.where(source >= 0, np.asarray(values, dtype=np.float64)[:, np.maximum(source, 0)], np.nan)


def filled(values: Floats) -> Floats:
    """The same rows with missing cells interpolated between their neighbours, ends held."""
    result = values.copy()
    cells = np.arange(values.shape[1])
    for i in np.nonzero(np.isnan(values).any(axis=1))[0]:
        there = ~np.isnan(values[i])
        result[i] = np.interp(cells, cells[there], values[i, there]) if there.any() else 0.0
    return result


def _has_values(values: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).mean(axis=1) >= 0.5)


def _level(values: Floats) -> Floats:
    """[S, 1] mean size of each row, 1 where it is zero."""
    level = np.nanmean(np.abs(values), axis=1, keepdims=True)
    return np.asarray(np.where(level > 0, level, 1.0), dtype=np.float64)


def frequency(step_seconds: float) -> str:
    """The width of a cell as pandas and NeuralProphet name it."""
    return f"{round(step_seconds * 1000)}ms"


def _frame(values: Floats, start_ns: int, step_seconds: float) -> "pd.DataFrame":
    import pandas as pd

    times = pd.to_datetime(start_ns + (np.arange(values.shape[1]) * step_seconds * 1e9).astype(np.int64))
    series, cells = values.shape
    names = np.repeat([f"{i:05d}" for i in range(series)], cells)
    return pd.DataFrame({"ID": names, "ds": np.tile(times.to_numpy(), series), "y": values.ravel()})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """NeuralProphet without its warnings, on one thread (more are slower here), and able to read its own pickles."""
    before = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # its learning-rate finder and load need whole objects
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from neuralprophet import set_log_level

        set_log_level("ERROR")
        for name in ("pytorch_lightning", "lightning.pytorch", "py.warnings"):
            logging.getLogger(name).setLevel(logging.ERROR)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            if before is None:
                os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
            else:
                os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = before

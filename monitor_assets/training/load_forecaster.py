"""The forecast of load: what users will do in the next hours."""

import time
from dataclasses import dataclass

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.model_metrics import coverage
from forewarn.evaluation.split import Part
from forewarn.features.batch import coarsen
from forewarn.features.context import context_of
from forewarn.features.definitions import COARSE_STEPS
from forewarn.forecasting.neural import NeuralForecaster, seasonal_naive
from monitor_assets.history import SignalWindows
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope
from monitor_assets.training.training_set import training_set

NAME = "load_forecaster"
LAGS, AHEAD = 96, 24
MOST_SERIES = 4
ORIGINS = 10  # times at which the held-out forecasts begin


@dataclass(frozen=True, slots=True)
class ForecastScore:
    """How good forecasts of load were on a held-out part.

    error, naive_error: mean absolute error over mean size. coverage: of the 80 % interval, by steps ahead.
    """

    error: float
    naive_error: float
    coverage: dict[str, float]

    @property
    def chosen(self) -> str:
        """The forecaster for this class of signals."""
        return "neural" if self.error < self.naive_error else "seasonal_naive"


@dg.asset(deps=[training_set], group_name="training", kinds={"neuralprophet", "pytorch"}, owners=["team:forewarn"])
def load_forecaster(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """NeuralProphet over the request rates of all entities: quantiles of the next 360 steps.

    Learned on the training interval. Whether it or yesterday's value serves is decided on the calibration interval;
    its error on the test interval is what is reported.
    """
    history = scope.history()
    windows = history.read_windows()
    split = {name: Part(*ends) for name, ends in history.read_json("split").items()}
    series, load = load_of(windows)
    folder = history.model_folder(NAME, fresh=True)
    step = windows.step_seconds * COARSE_STEPS
    train = load[:, : split["train"].stop // COARSE_STEPS]
    if not len(series) or train.shape[1] < 3 * (LAGS + AHEAD):
        reason = "no request rates" if not len(series) else f"{train.shape[1]} cells of {step:.0f} s are too few"
        history.write_json(NAME, {"chosen": "seasonal_naive", "reason": reason})
        return dg.MaterializeResult(metadata={"chosen": "seasonal_naive", "reason": reason})
    began = time.perf_counter()
    forecaster = NeuralForecaster.fit(train, windows.start_ns, step, lags=LAGS, steps=AHEAD)
    seconds = time.perf_counter() - began
    forecaster.save(folder)
    choice, test = (score_of(forecaster, load, windows.start_ns, split[name]) for name in ("calibration", "test"))
    record = {"chosen": choice.chosen, "error": test.error, "naive_error": test.naive_error, "coverage": test.coverage}
    history.write_json(NAME, record)
    context.log.info(
        "fitted in %.1f s; error %.1f %% beside %.1f %%", seconds, 100 * test.error, 100 * test.naive_error
    )
    return dg.MaterializeResult(
        metadata={
            "series": dg.MetadataValue.json(series),
            "seconds": round(seconds, 2),
            "chosen": choice.chosen,
            "error": table(
                ["interval", "NeuralProphet", "seasonal naive"],
                [("calibration", choice.error, choice.naive_error), ("test", test.error, test.naive_error)],
            ),
            "coverage of the 80 % interval": table(["steps ahead", "test"], test.coverage.items()),
        }
    )


def load_of(windows: SignalWindows) -> tuple[list[str], NDArray[np.float64]]:
    """Names and coarse cells [S, C // 15] of the series that tell the load of an entity."""
    rows = np.unique(context_of(windows.series).load)
    rows = rows[rows >= 0][:MOST_SERIES]
    coarse = coarsen(windows.cells[rows], COARSE_STEPS).astype(np.float64)
    alive = np.flatnonzero(np.nan_to_num(coarse).max(axis=1, initial=0.0) > 0)
    return [windows.series[rows[i]].id for i in alive], coarse[alive]


def score_of(forecaster: NeuralForecaster, load: NDArray[np.float64], start_ns: int, part: Part) -> ForecastScore:
    """Forecasts from ORIGINS times of a part held against what came, beside the value of a day before."""
    first = max(-(-part.first // COARSE_STEPS), forecaster.lags)
    last = min(part.stop // COARSE_STEPS, load.shape[1]) - forecaster.steps
    if last < first:
        return ForecastScore(float("nan"), float("nan"), {})
    day = round(86_400 / forecaster.step_seconds)
    said, naive, came = [], [], []
    for at in np.unique(np.linspace(first, last, ORIGINS).astype(int)):
        end = start_ns + round((at - 1) * forecaster.step_seconds * 1e9)
        said.append(forecaster.forecast(load[:, at - forecaster.lags : at], end))
        naive.append(seasonal_naive(load, at, forecaster.steps, day))
        came.append(load[:, at : at + forecaster.steps])
    forecast, before, truth = np.stack(said), np.stack(naive), np.stack(came)
    known = np.isfinite(truth) & np.isfinite(before) & np.isfinite(forecast[..., 1])
    size = np.abs(truth[known]).mean()
    ahead = {"4": slice(0, 4), "5-12": slice(4, 12), "13-24": slice(12, 24)}
    return ForecastScore(
        error=float(np.abs(forecast[..., 1] - truth)[known].mean() / size),
        naive_error=float(np.abs(before - truth)[known].mean() / size),
        coverage={
            name: coverage(forecast[..., k, 0].ravel(), forecast[..., k, 2].ravel(), truth[..., k].ravel())
            for name, k in ahead.items()
        },
    )


@dg.asset_check(asset=load_forecaster, description="On the test interval the forecast of load beats yesterday's value.")
def load_forecast_beats_seasonal_naive(scope: TrainingScope) -> dg.AssetCheckResult:
    """Reported, not blocking: where it does not, the simple forecast serves."""
    record = scope.history().read_json(NAME)
    if "error" not in record:
        return dg.AssetCheckResult(passed=True, description=record["reason"])
    return dg.AssetCheckResult(
        passed=record["error"] < record["naive_error"],
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"error": record["error"], "seasonal naive": record["naive_error"]},
    )

"""The neural forecaster: better than yesterday's value, ordered quantiles, no scale of its own, round trip."""

import time
from pathlib import Path

import numpy as np
import pytest

from forewarn.forecasting.capacity.neural import SHORTEST, NeuralMaxima
from forewarn.forecasting.neural import NeuralForecaster, filled, seasonal_naive

STEP = 900.0
DAY = 96
START = 1_767_225_600_000_000_000  # a midnight, UTC


def activity(series: int, cells: int, seed: int) -> np.ndarray:
    """Requests with a daily curve, a slow level and noise; other sizes for each series."""
    rng = np.random.default_rng(seed)
    day = np.arange(cells) / DAY
    level = 1 + 0.3 * np.sin(2 * np.pi * day / 5 + rng.uniform(0, 6, (series, 1)))
    curve = 1 + 0.6 * np.sin(2 * np.pi * day - 1.5)
    return 50 * (1 + np.arange(series))[:, None] * level * curve * rng.lognormal(0, 0.04, (series, cells))


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Three series over ten days."""
    values = activity(3, 10 * DAY, 0)
    values[1, 200:215] = np.nan
    return values


@pytest.fixture(scope="module")
def forecaster(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> NeuralForecaster:
    """Fitted on the first eight days."""
    return NeuralForecaster.fit(values[:, : 8 * DAY], START, STEP, epochs=25, seed=1)


def forecasts(forecaster: NeuralForecaster, values: np.ndarray, at: int) -> np.ndarray:
    """What is said before cell `at`."""
    return forecaster.forecast(values[:, at - forecaster.lags : at], START + int((at - 1) * STEP * 1e9))


def test_beats_the_seasonal_naive_and_covers(forecaster: NeuralForecaster, values: np.ndarray) -> None:
    ours, naive, inside = [], [], []
    for at in range(8 * DAY, 10 * DAY - forecaster.steps, 12):
        said = forecasts(forecaster, values, at)
        assert said.shape == (3, forecaster.steps, 3)
        assert (np.diff(said, axis=2) >= 0).all()
        came = values[:, at : at + forecaster.steps]
        ours.append(np.abs(said[:, :, 1] - came) / came)
        naive.append(np.abs(seasonal_naive(values, at, forecaster.steps, DAY) - came) / came)
        inside.append((said[:, :, 0] <= came) & (came <= said[:, :, 2]))
    assert np.mean(ours) < 0.9 * np.nanmean(naive)
    assert 0.55 < np.mean(inside) < 0.97


def test_serves_a_series_of_another_size(forecaster: NeuralForecaster, values: np.ndarray) -> None:
    small = forecasts(forecaster, values, 9 * DAY)
    np.testing.assert_allclose(forecasts(forecaster, values * 1e6, 9 * DAY), small * 1e6, rtol=1e-3)


def test_the_future_is_not_read(values: np.ndarray) -> None:
    changed = values.copy()
    changed[:, 500:] = -1
    np.testing.assert_array_equal(seasonal_naive(changed, 500, 200, DAY), seasonal_naive(values, 500, 200, DAY))


def test_missing_history_is_unknown_not_zero(forecaster: NeuralForecaster, values: np.ndarray) -> None:
    history = values[:, -forecaster.lags :].copy()
    history[1, :60] = np.nan
    said = forecaster.forecast(history, START)
    assert np.isnan(said[1]).all() and np.isfinite(said[[0, 2]]).all()


def test_saved_forecaster_says_the_same(
    forecaster: NeuralForecaster, values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forecaster.save(tmp_path / "model")
    loaded = NeuralForecaster.load(tmp_path / "model")
    np.testing.assert_allclose(forecasts(loaded, values, 900), forecasts(forecaster, values, 900), rtol=1e-5)
    assert not (tmp_path / "lightning_logs").exists()


def test_too_little_history_is_told() -> None:
    with pytest.raises(ValueError, match="at least 360 cells"):
        NeuralForecaster.fit(np.ones((1, 100)), START, STEP)


def test_filled_interpolates_and_holds_ends() -> None:
    np.testing.assert_allclose(filled(np.array([[np.nan, 1, np.nan, 3, np.nan]])), [[1, 1, 2, 3, 3]])


def far_ahead(past: np.ndarray, start_ns: int) -> np.ndarray:
    """Maxima up to seven days ahead, by a candidate for capacities that learned little, from `past` [S, hours]."""
    rows = np.arange(len(past))
    candidate = NeuralMaxima(np.full(past.shape, np.nan), start_ns, time.monotonic() + 600, epochs=3)
    candidate.learn(past, rows)
    assert candidate.reason == ""
    return candidate.maxima(past, rows)


def test_capacities_have_no_scale_and_no_level_and_no_time_of_day() -> None:
    rng, hours = np.random.default_rng(5), np.arange(SHORTEST + 24.0)
    past = (
        70 + np.sin(2 * np.pi * hours / 168) + rng.normal(0, 0.05, (4, len(hours)))
    )  # moves by a hundredth of its level
    said = far_ahead(past, START)
    assert np.ptp(said) > 0.1  # it is no constant
    np.testing.assert_allclose((far_ahead(1e6 * past - 3e7, START) + 3e7) / 1e6, said, atol=1e-2)
    np.testing.assert_allclose(far_ahead(past, START + 5 * 3600 * 10**9), said, atol=1e-6)

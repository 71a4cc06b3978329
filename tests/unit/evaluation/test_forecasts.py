"""Forecasts are scored beside seasonal naive, AutoETS and AutoARIMA, on files as the data sets store them."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from forewarn.evaluation.datasets import forecasts
from forewarn.evaluation.datasets.forecast_baselines import statistical_forecasts
from forewarn.evaluation.datasets.forecast_series import averaged, read_jumpstarter, read_tables
from forewarn.evaluation.datasets.forecasts import (
    HORIZON_HOURS,
    REFERENCE,
    SignalSeries,
    evaluate,
    forecast_report,
    forecast_reports,
    horizons,
    score,
)
from forewarn.evaluation.datasets.report import DatasetError, Options, as_json

DAY = 24
QUIET = Options()


def requests(days: int, seed: int = 0) -> np.ndarray:
    """Requests a minute: a daily curve, a quiet weekend, Poisson noise."""
    minute = np.arange(days * 1440)
    curve = 40 * (1 + 0.7 * np.sin(2 * np.pi * minute / 1440 - 1.5)) * np.where(minute // 1440 % 7 >= 5, 0.6, 1.0)
    return np.random.default_rng(seed).poisson(curve * np.random.default_rng(seed).lognormal(0, 0.3, days).repeat(1440))


@pytest.fixture(autouse=True)
def few_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few origins, learned once: the figures are rougher, the way to them is the same."""
    monkeypatch.setattr(forecasts, "MOST_ORIGINS", 12)
    monkeypatch.setattr(forecasts, "RELEARNED", 1)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    counts = requests(21)
    pd.DataFrame({"minute": np.arange(len(counts)), "requests": counts}).to_csv(folder / "site.csv.gz", index=False)
    return folder


def test_requests_beside_the_baselines(web: Path) -> None:
    error, crps, coverage = evaluate("web_request_rates", web, QUIET)
    assert error.value < 0.95
    assert crps.value < 0.95
    assert error.baselines[REFERENCE] == pytest.approx(1.0)
    assert set(error.baselines) == {"auto_ets", "auto_arima", "naive", "drift", "seasonal_naive"}
    (day,) = [part for part in error.parts if part["part"] == "up to 24 h"]
    assert day["baselines"]["naive"] > 1.0  # so far ahead the last value is no match for the time of the day
    assert 0.6 < coverage.value < 0.97
    names = [str(part["part"]) for part in error.parts]
    assert names == ["up to 1 h", "up to 6 h", "up to 24 h", "class seasonal", "requests"]
    assert msgspec.json.encode(as_json([error, crps, coverage])).startswith(b'{"metric":"forecast error')


def test_drifting_memory(tmp_path: Path) -> None:
    """A server that ages: times with fractions of seconds, a missing stretch, columns that never change."""
    rng = np.random.default_rng(1)
    minutes = np.delete(np.arange(16 * 60), slice(400, 430))
    times = pd.Timestamp("2024-01-07 15:45:29.231146") + pd.to_timedelta(minutes * 60.06, unit="s")
    memory = 2e9 + 4e5 * minutes + 1e6 * rng.normal(size=len(minutes))
    columns = {"currentTime": times, "usedMemory": memory, "totalMemory": 16_698_884_096}
    pd.DataFrame(columns).to_csv(tmp_path / "run_1s.csv.gz", index=False)
    error, crps, _ = evaluate("llm_server_aging", tmp_path, QUIET)
    assert [part["part"] for part in error.parts if not str(part["part"]).startswith(("up to", "class"))] == [
        "usedMemory"
    ]
    assert error.value < error.baselines["naive"]
    assert crps.value < crps.baselines["naive"]
    assert "1 series left out" in error.notes[-1]


def test_jumpstarter_takes_all_metrics_and_services(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for service in range(30):
        metrics = {f"m{j:02}": rng.normal(size=240) for j in range(19)}
        table = pd.DataFrame(metrics).assign(label=np.int8(0), split="train")
        path = tmp_path / "Dataset2" / f"service{service:02}.parquet"
        path.parent.mkdir(exist_ok=True)
        table.to_parquet(path)
    series = read_jumpstarter(tmp_path, 3600.0)
    assert len(series) == 30
    assert {one.signal for one in series} == {f"m{j:02}" for j in range(19)}
    assert len({one.name.split()[0] for one in series}) == 30
    assert all(len(one.values) == 20 for one in series)
    with pytest.raises(DatasetError, match="no series varies and is long enough"):
        forecast_reports([SignalSeries("x", "x", np.ones(100), 3600.0)], QUIET)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \*\.csv"):
        evaluate("llm_server_aging", tmp_path, QUIET)
    with pytest.raises(DatasetError, match=r"no NAME\.parquet"):
        forecast_report(tmp_path, QUIET)
    pd.DataFrame({"value": [1.0]}).to_csv(tmp_path / "a.csv")
    with pytest.raises(DatasetError, match="no column of times"):
        evaluate("web_request_rates", tmp_path, QUIET)


def test_cells_are_means_of_what_was_measured(tmp_path: Path) -> None:
    np.testing.assert_allclose(averaged(np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan, 9.0]), 2), [2.0, 5.0, np.nan])
    pd.DataFrame({"minute": [0, 1, 130], "x": [2.0, 4.0, 7.0]}).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(read_tables(tmp_path, 3600.0)[0].values, [3.0, np.nan, 7.0])


TIMES = pd.date_range("2024-01-01", periods=300, freq="min")


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(TIMES, id="iso"),
        pytest.param(TIMES.strftime("%m/%d/%Y %H:%M"), id="american"),
        pytest.param(TIMES.astype("datetime64[s]").astype("int64"), id="seconds"),
        pytest.param(TIMES.astype("datetime64[ms]").astype("int64"), id="milliseconds"),
    ],
)
def test_times_are_read_as_they_come(tmp_path: Path, times: "pd.Index") -> None:
    table = pd.DataFrame({"Timestamp ": times, "x": np.arange(300.0), "who": "a"}).sample(frac=1, random_state=0)
    table.to_csv(tmp_path / "a.csv.gz", index=False)
    (series,) = read_tables(tmp_path, 3600.0)
    np.testing.assert_allclose(series.values, [29.5, 89.5, 149.5, 209.5, 269.5])


def test_files_of_other_shapes(tmp_path: Path) -> None:
    """No time, no row, a row without a time, an infinite value, rows a day apart, a long gap: what can be read is."""
    pd.DataFrame({"x": [1.0]}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.csv").write_text("")
    minutes = np.r_[np.arange(0, 600.0, 60), 1e6 + np.arange(0, 1200.0, 60), np.nan]
    values = np.arange(31.0)
    values[12] = np.inf
    pd.DataFrame({"minute": minutes, "x": values}).to_csv(tmp_path / "c.csv", index=False)
    pd.DataFrame({"minute": np.arange(20) * 1440, "x": np.arange(20.0)}).to_csv(tmp_path / "d.csv", index=False)
    gap, daily = read_tables(tmp_path, 3600.0)
    assert len(gap.values) in (20, 21) and np.isnan(gap.values[2]) and np.isfinite(gap.values).sum() == 19
    assert daily.step_seconds == 86_400 and len(daily.values) == 20
    with pytest.raises(DatasetError, match="long enough"):
        forecast_reports([daily, SignalSeries("x", "x", np.arange(3.0), 3600.0)], QUIET)


def test_a_baseline_that_cannot_be_fitted_says_the_last_value() -> None:
    said = statistical_forecasts([np.array([3.0, 5.0]), np.array([3.0, 5.0, 7.0])], 4, DAY)
    assert set(said) == {"auto_ets", "auto_arima"}
    np.testing.assert_allclose(said["auto_ets"][:, :, 4], [[5.0] * 4, [7.0] * 4])


def test_scores_of_cells_that_were_not_measured_do_not_count() -> None:
    said = np.zeros((2, 3, 9))
    came = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0]])
    one = score(said, came)
    assert (one.error, one.crps, one.inside) == (2.0, pytest.approx(2.0), 0.0)
    assert horizons(60, 3600.0) == list(HORIZON_HOURS)
    assert horizons(47, 3600.0) == [1, 6]


def test_a_real_server() -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "")) / "web_request_rates"
    if not os.environ.get("FOREWARN_DATA") or not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with web_request_rates")
    (series,) = read_tables(folder, 3600.0)
    month = SignalSeries(series.name, series.signal, series.values[-21 * DAY :], series.step_seconds)
    error, crps, _ = forecast_reports([month], QUIET)
    assert error.value < min(error.baselines["auto_ets"], error.baselines["auto_arima"])
    assert crps.value < 1.0

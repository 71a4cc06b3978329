"""What every forecaster promises, whichever it is."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from forewarn.forecasting.candidates import candidates, point_candidates
from forewarn.forecasting.competition import Competition
from forewarn.forecasting.conformal import Calibrated
from forewarn.forecasting.direct import BoostedQuantiles, PooledRidge
from forewarn.forecasting.forecaster import LEVELS, MEDIAN, Forecaster, PointForecaster, Seasons, pinball
from forewarn.forecasting.simple import SeasonalNaive

DAY, STEPS = 24, 24
SEASONS = Seasons.of(3600.0)


def activity(series: int, days: int, seed: int) -> np.ndarray:
    """Hourly load: a daily curve, a quieter seventh and sixth day, a slow level, noise; other sizes for each series."""
    rng = np.random.default_rng(seed)
    hour = np.arange(days * DAY)
    level = 1 + 0.2 * np.sin(2 * np.pi * hour / (9 * DAY) + rng.uniform(0, 6, (series, 1)))
    curve = 1 + 0.6 * np.sin(2 * np.pi * hour / DAY - 1.5)
    weekend = np.where(hour // DAY % 7 >= 5, 0.6, 1.0)
    size = 10.0 ** np.arange(series)[:, None]
    return size * level * curve * weekend * rng.lognormal(0, 0.05, (series, len(hour)))


def trusted(point: PointForecaster) -> Calibrated:
    return Calibrated(point, DAY, origins=40)


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    **{
        point.name: partial(trusted, point)
        for point in [*point_candidates(SEASONS, 30 * DAY), PooledRidge(SEASONS), PooledRidge(SEASONS, own=0.0)]
    },
    "boosted": partial(BoostedQuantiles, SEASONS, rounds=20),
    "competition": lambda: Competition(
        [trusted(point) for point in point_candidates(SEASONS, 30 * DAY)[:6]], SEASONS, origins=8
    ),
}


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Three series of 30 days, of which 25 are the past that is learned from."""
    made = activity(3, 30, seed=1)
    made.setflags(write=False)  # whoever changes its argument fails
    return made


@pytest.fixture(scope="module", params=list(FORECASTERS))
def forecaster(request: pytest.FixtureRequest, values: np.ndarray) -> Forecaster:
    """Each forecaster, learned on 25 days."""
    made = FORECASTERS[request.param]()
    made.learn(values[:, : 25 * DAY], STEPS)
    return made


def rolled(forecaster: Forecaster, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    origins = range(25 * DAY, 29 * DAY + 1, 7)
    said = np.stack([forecaster.forecast(values[:, :at], STEPS) for at in origins])
    return said, np.stack([values[:, at : at + STEPS] for at in origins])


def test_is_a_forecaster(forecaster: Forecaster) -> None:
    assert isinstance(forecaster, Forecaster)
    assert forecaster.name


def test_quantiles_are_finite_and_increase(forecaster: Forecaster, values: np.ndarray) -> None:
    said = forecaster.forecast(values[:, : 26 * DAY], STEPS)
    assert said.shape == (3, STEPS, len(LEVELS))
    assert np.isfinite(said).all()
    assert (np.diff(said, axis=2) >= 0).all()


def test_fewer_steps_are_the_beginning_of_more(forecaster: Forecaster, values: np.ndarray) -> None:
    more, fewer = (forecaster.forecast(values[:, : 26 * DAY], steps) for steps in (STEPS, 5))
    np.testing.assert_allclose(fewer, more[:, :5], rtol=1e-9)


def test_same_past_same_forecast(forecaster: Forecaster, values: np.ndarray) -> None:
    once, again = (forecaster.forecast(values[:, : 27 * DAY + 5], STEPS) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_size_of_a_series_does_not_matter(forecaster: Forecaster, values: np.ndarray) -> None:
    """CRPS relative to the series' size is alike for series that are 100 times as large."""
    said, came = rolled(forecaster, values)
    relative = pinball(said, came).mean(axis=(0, 2)) / came.mean(axis=(0, 2))
    assert relative.max() < 3 * relative.min()


def test_intervals_hold_about_their_share(forecaster: Forecaster, values: np.ndarray) -> None:
    said, came = rolled(forecaster, values)
    assert 0.5 < ((said[..., 0] <= came) & (came <= said[..., -1])).mean() < 0.99
    assert 0.2 < (came <= said[..., MEDIAN]).mean() < 0.8


def test_all_candidates_have_names_of_their_own() -> None:
    names = [candidate.name for candidate in candidates(SEASONS, 30 * DAY)]
    assert len(set(names)) == len(names)
    assert names[0] == SeasonalNaive(DAY).name

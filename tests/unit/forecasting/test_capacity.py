"""The highest value within a week: crossings follow from it, classes are told, the surely better serves, no future."""

import numpy as np
import pytest

from forewarn.forecasting.capacity import shapes
from forewarn.forecasting.capacity.contest import BANDS, DIRECT, CapacityContest, origins_of
from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LEVELS, LOW, FirstCrossing, came, crps, running_maxima
from forewarn.forecasting.capacity.model import packaged
from forewarn.forecasting.capacity.paths import PATHS, gains, without_growth
from forewarn.forecasting.capacity.signal_class import CLASSES, class_of

DAY = 24


def series(kind: str, hours: int = 14 * DAY, seed: int = 0) -> np.ndarray:
    """One series of a class."""
    rng = np.random.default_rng(seed)
    t, noise = np.arange(hours), 0.01 * rng.normal(size=hours)
    season = np.sin(2 * np.pi * t / DAY)
    return {
        "flat": np.full(hours, 3.0),
        "monotone": 0.01 * t + noise,
        "sawtooth": (t % 50) / 50 + noise,
        "growing_sawtooth": (t % 50) / 50 + 0.006 * t + noise,
        "seasonal": season + noise,
        "seasonal_growth": season + 0.01 * t + noise,
        "level_shift": (t > 200) * 1.0 + noise,
        "irregular": noise,
    }[kind]


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_are_told_by_shape(kind: str) -> None:
    assert CLASSES[class_of(series(kind)[None])[0]] == kind


def test_running_maxima_say_nothing_beyond_the_end() -> None:
    highest = running_maxima(np.arange(30.0)[None])[0]
    assert highest[HOURS.index(24)] == 23
    assert np.isnan(highest[HOURS.index(36)])


def test_crossings_follow_from_the_quantiles_of_the_maximum() -> None:
    """A maximum that is normal around 10 per day crosses 30 on the third day in half of the cases."""
    middle = np.array(HOURS, float) / DAY * 10
    spread = np.array([-2.05, -1.64, -1.28, -0.84, -0.52, -0.25, 0, 0.25, 0.52, 0.84, 1.28, 1.64, 2.05])
    quantiles = (middle[:, None] + spread)[None]
    crossing = FirstCrossing.of(quantiles, np.array([30.0]), np.array([0.0]))
    assert crossing.within[0, HOURS.index(72)] == pytest.approx(0.5)
    assert crossing.quantile(0.5)[0] == pytest.approx(72)
    assert crossing.never[0] == pytest.approx(0)
    safe = FirstCrossing.of(quantiles, np.array([1e3]), np.array([0.0]))
    assert safe.never[0] == 1 and np.isinf(safe.quantile(0.1)[0])
    failed = FirstCrossing.of(quantiles, np.array([30.0]), np.array([30.0]))
    assert (failed.within == 1).all()


def test_given_quantiles_are_of_the_cases_that_cross() -> None:
    within = np.linspace(0, 0.5, len(HOURS))[None]
    crossing = FirstCrossing(within)
    assert np.isinf(crossing.quantile(0.6)[0])
    assert crossing.quantile(0.5, given=True)[0] == crossing.quantile(0.25)[0] < 168


def test_crps_of_the_truth_is_zero_and_grows_with_the_distance() -> None:
    truth = np.array([1.0, np.nan])
    assert crps(np.ones((2, len(LEVELS))), truth)[0] == 0
    assert np.isnan(crps(np.ones((2, len(LEVELS))), truth)[1])
    assert crps(np.full((1, len(LEVELS)), 3.0), np.array([1.0]))[0] > crps(np.full((1, 13), 2.0), np.array([1.0]))[0]


def test_gains_are_those_of_the_past() -> None:
    x = np.random.default_rng(0).normal(size=(2, 100))
    found = gains(x, (0.5,))[0]
    six = [[row[t + 1 : t + 7].max() - row[t] for t in range(94)] for row in x]
    np.testing.assert_allclose(found[:, HOURS.index(6)], np.median(six, axis=1))


@pytest.mark.parametrize("name", PATHS)
def test_paths_rise_with_the_horizon_and_take_a_day_of_history(name: str) -> None:
    for hours in (24, 60, 400):
        past = np.stack([series(kind, hours) for kind in ("monotone", "seasonal", "flat", "level_shift")])
        said = PATHS[name](past)
        assert said.shape == (4, len(HOURS)) and np.isfinite(said).all()
        assert (np.diff(said, axis=1) >= -1e-9).all()


def test_packaged_quantiles_hold_on_shapes_of_another_seed() -> None:
    rng = np.random.default_rng(123)
    values = np.stack([shapes.draw(rng, 200 + 168) for _ in range(80)])
    said, truth = packaged().quantiles(values[:, :200]), came(values, 200)
    inside = (said[..., LOW] <= truth) & (truth <= said[..., HIGH])
    assert 0.7 < inside.mean() < 0.9
    assert (np.diff(said, axis=2) >= 0).all() and (np.diff(said, axis=1) >= 0).all()


def test_quantiles_have_no_scale_and_no_level() -> None:
    past = np.stack([series("monotone", 100), series("seasonal", 100)])
    said, scaled = packaged().quantiles(past), packaged().quantiles(1e9 * past)
    np.testing.assert_allclose(scaled / 1e9, said, rtol=1e-6, atol=1e-6)


class Oracle:
    """Knows what comes of the series that it was given."""

    name = "oracle"

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def learn(self, past: np.ndarray, rows: np.ndarray) -> None:
        """Knows it already."""

    def maxima(self, past: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The truth; the last cell beyond what it knows."""
        truth = came(self.values[rows], past.shape[1])
        return np.where(np.isnan(truth), past[:, -1:], truth)


def test_the_surely_better_serves_its_class_alone() -> None:
    walks = np.cumsum(np.random.default_rng(5).normal(size=(8, 600)), axis=1)
    waves = np.stack([series("seasonal", 600, seed) for seed in range(8)])
    values = np.concatenate([walks, waves])
    known = values.copy()
    known[8:] += 100.0  # an oracle of the walks alone
    contest = CapacityContest(packaged(), [Oracle(known)])
    contest.learn(values[:, :420])
    said, truth = contest.quantiles(values[:, :420]), came(values, 420)
    classes = {CLASSES[i] for i in contest.signal_class[8:]}
    assert all("oracle" not in one.members for one in contest.standings if one.signal_class in classes)
    served = [i for i in range(8) if "oracle" in contest.method(i)]
    assert len(served) >= 4
    np.testing.assert_allclose(said[served, :, 6], truth[served], atol=0.3 * np.abs(walks).max())


def test_what_comes_later_changes_no_forecast() -> None:
    values = np.stack([series("seasonal_growth", 600, seed) for seed in range(5)])
    changed = values.copy()
    changed[:, 400:] = -1e6
    said = []
    for given in (values, changed):
        contest = CapacityContest(packaged())
        contest.learn(given[:, :400])
        said.append(contest.quantiles(given[:, :400]))
    np.testing.assert_array_equal(said[0], said[1])


def test_the_first_day_is_served_by_the_packaged_quantiles() -> None:
    past = np.stack([series("monotone", 24), series("irregular", 24)])
    contest = CapacityContest(packaged())
    contest.learn(past)
    assert contest.method(0) == DIRECT and contest.coverage(0) is None
    assert contest.quantiles(past).shape == (2, len(HOURS), len(LEVELS))


def test_origins_leave_a_day_and_stay_off_the_season() -> None:
    for cells in (24, 25, 60, 400, 1344):
        origins = origins_of(cells)
        assert all(DAY <= at < cells for at in origins)
        if len(origins) > 2 and origins[1] - origins[0] > 1:
            assert (origins[1] - origins[0]) % 12 != 0
    assert [band.start for band in BANDS[1:]] == [band.stop for band in BANDS[:-1]]


def test_without_growth_ends_where_it_was() -> None:
    past = series("monotone", 400)[None]
    still = without_growth(past)
    assert still[0, -1] == past[0, -1]
    assert abs(np.median(still[0, -24:]) - np.median(still[0, -168:-144])) < 0.1

"""The best forecaster per class of signal is chosen from the past, and only where it is surely the best."""

import numpy as np
import pytest

from forewarn.forecasting.competition import (
    ALL,
    CLASSES,
    Competition,
    bands,
    class_of,
    geometric_ratio,
    stretch_of,
    stretched,
)
from forewarn.forecasting.conformal import Calibrated
from forewarn.forecasting.direct import PooledRidge, design, examples
from forewarn.forecasting.forecaster import LEVELS, Floats, Seasons, pinball, scale_of
from forewarn.forecasting.seasonal_profile import SeasonalProfile
from forewarn.forecasting.simple import Drift, Naive, SeasonalNaive
from forewarn.forecasting.tuned_profile import TunedProfile

DAY = 24
SEASONS = Seasons.of(3600.0)


def signals(days: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    """One signal of each class."""
    rng = np.random.default_rng(seed)
    hour = np.arange(days * DAY)
    noise = rng.normal(size=len(hour))
    bursts = np.where(rng.random(len(hour)) < 0.02, 50.0, 0.0)
    return {
        "flat": np.where(hour < 100, 3.0, 4.0),
        "drifting": 0.5 * hour + noise,
        "seasonal": 10 * np.sin(2 * np.pi * hour / DAY) + noise,
        "bursty": np.abs(0.1 * noise) + bursts,
        "irregular": noise,
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_are_told_from_the_past(kind: str) -> None:
    assert CLASSES[class_of(signals()[kind][None], SEASONS)[0]] == kind


class Oracle:
    """Knows a signal that it was given: what a candidate that is surely better looks like."""

    name = "oracle"

    def __init__(self, truth: Floats) -> None:
        self.truth = truth

    def learn(self, past: Floats, steps: int) -> None:
        """Knows it already."""

    def forecast(self, past: Floats, steps: int) -> Floats:
        """The truth, with a little width."""
        ahead = self.truth[:, past.shape[1] : past.shape[1] + steps]
        return ahead[..., None] + 1e-3 * (LEVELS - 0.5)


def test_the_surely_best_serves_its_class_and_no_other() -> None:
    seasonal = np.stack([signals(seed=seed)["seasonal"] for seed in range(6)])
    irregular = np.stack([signals(seed=seed)["irregular"] for seed in range(6)])
    values = np.concatenate([seasonal, irregular])
    known = values.copy()
    known[6:] += 1000.0  # an oracle for the seasonal ones alone
    competition = Competition([Calibrated(SeasonalNaive(DAY), DAY), Calibrated(Naive(), DAY), Oracle(known)], SEASONS)
    past = values[:, : 18 * DAY]
    competition.learn(past, DAY)
    chosen = {(one.signal_class, one.last_step): one.chosen for one in competition.standings}
    assert {chosen["seasonal", step] for step in (1, 6, 24)} == {"oracle"}
    assert all(name != "oracle" for (kind, _), name in chosen.items() if kind == "irregular")
    said = competition.forecast(past, DAY)
    np.testing.assert_allclose(said[:6, :, 4], values[:6, 18 * DAY : 19 * DAY], atol=0.01)


def test_one_lucky_series_does_not_make_a_winner() -> None:
    values = signals()["seasonal"][None]
    competition = Competition([Calibrated(SeasonalNaive(DAY), DAY), Calibrated(Naive(), DAY), Oracle(values)], SEASONS)
    competition.learn(values[:, : 18 * DAY], DAY)
    assert {one.chosen for one in competition.standings} <= {ALL, "seasonal_naive"}


def test_the_future_changes_no_choice() -> None:
    values = np.stack([signals(seed=seed)["seasonal"] for seed in range(5)])
    changed = values.copy()
    changed[:, 15 * DAY :] = 1e6
    said = []
    for given in (values, changed):
        points = (SeasonalNaive(DAY), Naive(), TunedProfile(SEASONS), PooledRidge(SEASONS))
        competition = Competition([Calibrated(point, DAY) for point in points], SEASONS, origins=6)
        competition.learn(given[:, : 15 * DAY], DAY)
        said.append(competition.forecast(given[:, : 15 * DAY], DAY))
    np.testing.assert_array_equal(said[0], said[1])


def test_too_short_a_past_gets_the_simplest() -> None:
    values = signals()["seasonal"][None, : 2 * DAY]
    competition = Competition([Calibrated(SeasonalNaive(DAY), DAY), Calibrated(Naive(), DAY)], SEASONS)
    competition.learn(values, DAY)
    assert competition.standings == []
    np.testing.assert_allclose(competition.forecast(values, DAY)[0, :, 4], values[0, DAY:])


def test_candidates_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        Competition([Calibrated(Naive(), DAY), Calibrated(Naive(), DAY)], SEASONS)


def test_seasonal_profile_returns_to_the_season_and_drift_goes_on() -> None:
    hour = np.arange(21 * DAY)
    season = 100 + 10 * np.sin(2 * np.pi * hour / DAY)
    off = season.copy()
    off[-30 - DAY : -DAY] += 20  # raised up to the last cell that is given
    past = off[None, :-DAY]
    said = SeasonalProfile(SEASONS, weight=0.1, damping=0.001).points(past, DAY)[0]
    assert said[0] > season[-DAY] + 10
    assert said[-1] < season[-1] + 5
    line = np.arange(50.0)[None]
    np.testing.assert_allclose(Drift(20).points(line, 5)[0], [50, 51, 52, 53, 54])
    assert Drift(20, 0.5).points(line, 100)[0, -1] < 49 + 20 / np.log(2)


def test_swings_that_grow_with_the_level_are_multiplied() -> None:
    hour = np.arange(20 * DAY)
    level = 1.1 ** (hour // DAY)
    values = (level * (2 + np.sin(2 * np.pi * hour / DAY)))[None]
    said = SeasonalProfile(SEASONS, weight=0.35, recent=6, damping=1.0).points(values[:, : 19 * DAY], DAY)
    np.testing.assert_allclose(said, values[:, 19 * DAY :], rtol=0.08)


def test_tuned_profile_weighs_what_did_well() -> None:
    """A signal that repeats yesterday's noise exactly is told by yesterday, one with noise of its own by many days."""
    rng = np.random.default_rng(3)
    curve = 10 * np.sin(2 * np.pi * np.arange(30 * DAY) / DAY)
    repeats = np.tile(rng.normal(size=DAY), 30)
    values = np.stack([curve + 3 * repeats, curve + rng.normal(size=30 * DAY)])
    tuned = TunedProfile(SEASONS)
    tuned.learn(values[:, : 26 * DAY], DAY)
    origins = range(26 * DAY, 29 * DAY, 5)
    error = np.mean(
        [np.abs(tuned.points(values[:, :at], DAY) - values[:, at : at + DAY]) for at in origins], axis=(0, 2)
    )
    naive = SeasonalNaive(DAY)
    beside = np.mean(
        [np.abs(naive.points(values[:, :at], DAY) - values[:, at : at + DAY]) for at in origins], axis=(0, 2)
    )
    assert error[0] < 0.1
    assert error[1] < 0.85 * beside[1]


def test_designs_read_no_cell_at_or_after_their_origin() -> None:
    values = np.stack([signals()[kind] for kind in ("seasonal", "drifting")])
    scale = scale_of(values[:, : 15 * DAY], DAY)
    X, y = examples(values[:, : 15 * DAY], DAY, SEASONS, scale)
    np.testing.assert_allclose(X[-1], design(values[:, : 14 * DAY], DAY, SEASONS, scale))
    assert X.shape[:3] == y.shape


def test_pinball_of_a_known_case_and_ratio() -> None:
    said = np.zeros((1, 9))
    np.testing.assert_allclose(pinball(said, np.array([2.0])), [2.0])  # of a point it is the absolute error
    assert geometric_ratio(np.array([1.0, 4.0]), np.array([2.0, 2.0])) == pytest.approx(1.0)
    assert geometric_ratio(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)


def test_stretch_brings_coverage_nearer() -> None:
    rng = np.random.default_rng(0)
    narrow = np.broadcast_to((LEVELS - 0.5) * 1.0, (40, 5, 12, 9))
    came = rng.normal(size=(40, 5, 12))
    by = stretch_of(narrow, came)
    assert by > 1.3
    wider = stretched(narrow, by)

    def inside(said: np.ndarray) -> float:
        return float(((said[..., 0] <= came) & (came <= said[..., -1])).mean())

    assert inside(narrow) < inside(wider) < 0.8


def test_bands_cover_every_step_once() -> None:
    for steps in (1, 3, 24, 72):
        assert np.concatenate([np.arange(steps)[band] for band in bands(steps)]).tolist() == list(range(steps))
    assert [(band.start, band.stop) for band in bands(24)] == [(0, 1), (1, 6), (6, 24)]

"""Streaming scores of one signal: no future in them, missing samples are not zeros, seasons are known."""

import numpy as np
import pytest

from forewarn.detection.residuals import DAYS, residuals, seasonal_profile
from forewarn.detection.surprise import blocks, novelty, surprise, tail_surprise
from forewarn.detection.univariate import UnivariateDetector, held

STEP = 600.0  # 144 samples a day
DAY = 144


def signal(days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A daily wave with noise."""
    times = 1.7e9 + STEP * np.arange(days * DAY)
    rng = np.random.default_rng(seed)
    return times, 100 + 30 * np.sin(2 * np.pi * times / 86_400) + rng.normal(size=len(times))


def daily(times: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    return seasonal_profile(times, values, 86_400.0, DAYS)


def test_a_score_knows_nothing_of_what_follows() -> None:
    times, values = signal(12)
    learned, now = 6 * DAY, 9 * DAY + 17
    before = UnivariateDetector().score(times, values, learned)
    changed = values.copy()
    changed[now:] = np.random.default_rng(1).normal(500, 300, len(values) - now)
    after = UnivariateDetector().score(times, changed, learned)
    np.testing.assert_allclose(after[learned:now], before[learned:now])
    assert not np.allclose(after[now:], before[now:])


def test_a_score_knows_nothing_of_what_is_not_there_yet() -> None:
    times, values = signal(12)
    learned, now = 6 * DAY, 9 * DAY + 17
    whole = UnivariateDetector().score(times, values, learned)
    part = UnivariateDetector().score(times[:now], values[:now], learned)
    np.testing.assert_allclose(part, whole[:now])


@pytest.mark.parametrize(
    ("name", "change"),
    [("spike", lambda v: v + 25), ("level", lambda v: v - 12), ("stuck", lambda v: 0 * v + 100)],
)
def test_anomalies_outscore_usual_samples(name: str, change: object) -> None:
    times, values = signal(14, seed=3)
    start, length = 11 * DAY + 36, 1 if name == "spike" else 40  # at the top of the wave
    assert callable(change)
    values[start : start + length] = change(values[start : start + length])
    scores = UnivariateDetector().score(times, values, 7 * DAY)
    usual = np.concatenate([scores[7 * DAY : start], scores[start + length + 3 * DAY // 2 :]])
    assert scores[start : start + length].max() > np.quantile(usual, 0.995)


def test_a_missing_sample_is_no_anomaly_and_leaves_its_neighbours_alone() -> None:
    times, values = signal(14)
    whole = UnivariateDetector().score(times, values, 7 * DAY)
    gone = values.copy()
    gone[10 * DAY : 10 * DAY + 6] = np.nan
    scores = UnivariateDetector().score(times, gone, 7 * DAY)
    assert np.isfinite(scores).all()
    assert scores[10 * DAY : 10 * DAY + 40].max() <= whole[7 * DAY :].max()
    zero = values.copy()
    zero[10 * DAY : 10 * DAY + 6] = 0.0
    assert UnivariateDetector().score(times, zero, 7 * DAY)[10 * DAY : 10 * DAY + 40].max() > 1.5 * scores.max()


def test_samples_that_were_left_out_say_the_same_as_missing_ones() -> None:
    times, values = signal(10)
    there = np.ones(len(values), dtype=bool)
    there[8 * DAY : 8 * DAY + 30] = False
    profile = daily(times[there], values[there])
    whole = daily(times, values)
    assert profile is not None and whole is not None
    np.testing.assert_allclose(profile[-DAY:], whole[-DAY:], atol=1.5)


def test_the_profile_of_a_day_follows_the_wave_and_needs_three_days() -> None:
    times, values = signal(8)
    profile = daily(times, values)
    assert profile is not None
    assert np.isnan(profile[: 2 * DAY]).all()
    assert np.nanmedian(np.abs(values - profile)[4 * DAY :]) < 1.5
    assert daily(times[: 2 * DAY], values[: 2 * DAY]) is None
    assert set(residuals(times[:DAY], values[:DAY])) == {"jump", "fast", "slow"}


def test_scores_do_not_depend_on_the_unit() -> None:
    times, values = signal(9)
    seconds = UnivariateDetector().score(times, values, 4 * DAY)
    milliseconds = UnivariateDetector().score(times, values * 1024, 4 * DAY)
    np.testing.assert_allclose(milliseconds, seconds)


@pytest.mark.parametrize("values", [np.zeros(50), np.full(50, np.nan), np.zeros(0), np.array([1.0])])
def test_signals_without_variation_are_calm(values: np.ndarray) -> None:
    scores = UnivariateDetector().score(np.arange(len(values)) * 60.0, values, 10)
    assert scores.shape == values.shape
    assert np.isfinite(scores).all() and (scores[10:] == 0).all()


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 times for 2 values"):
        UnivariateDetector().score(np.arange(3.0), np.arange(2.0), 1)


def test_surprise_is_minus_log_of_the_share_and_goes_on_beyond_what_was_seen() -> None:
    reference = np.random.default_rng(0).pareto(3.0, 20_000) + 1.0
    for share in (0.5, 0.01, 1e-3):
        value = np.array([share ** (-1 / 3.0)])
        assert tail_surprise(value, reference)[0] == pytest.approx(-np.log(share), abs=0.35)
    beyond = tail_surprise(np.array([1e-6 ** (-1 / 3.0)]), reference)[0]
    assert beyond == pytest.approx(-np.log(1e-6), rel=0.15)


def test_surprise_of_values_never_seen_among_zeros() -> None:
    scores = surprise(np.concatenate([np.zeros(100), [1.0, 0.0, 5.0]]), 100)
    assert scores[100] > 3 and scores[101] == 0 and scores[102] > scores[100]


def test_novelty_looks_both_ways() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    values[900], values[950] = 8.0, -8.0
    scores = novelty(values, 500)
    assert set(np.argsort(scores)[-2:]) == {900, 950}


def test_every_sample_is_judged_once_and_by_earlier_ones() -> None:
    spans = list(blocks(1000, 150))
    assert spans[0] == (0, 150, 150)
    assert [start for start, _, _ in spans[1:]] == [stop for _, stop, _ in spans[:-1]]
    assert all(known == start for start, _, known in spans[1:]) and spans[-1][1] == 1000


def test_an_alarm_fades() -> None:
    np.testing.assert_allclose(held(np.array([0.0, 8.0, 1.0, 0.0, 5.0]), 0.5), [0, 8, 4, 2, 5])

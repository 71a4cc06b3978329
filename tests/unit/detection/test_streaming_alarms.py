"""Alarms on one signal: rare, at the beginning of what is unusual, and without its future."""

import numpy as np
import pytest

from forewarn.detection.streaming_alarms import StreamingAlarms

DAY = 288  # samples, one in 5 min
LEARNED = 3 * DAY


def signal(days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A daily wave with noise."""
    times = 1.7e9 + 300.0 * np.arange(days * DAY)
    noise = np.random.default_rng(seed).normal(size=len(times))
    return times, 50 + 20 * np.sin(2 * np.pi * times / 86_400) + noise


def test_usual_days_raise_hardly_an_alarm() -> None:
    alarms = [np.count_nonzero(StreamingAlarms().score(*signal(14, seed), LEARNED)[LEARNED:]) for seed in range(5)]
    assert np.mean(alarms) <= 3  # of 3,168 samples


@pytest.mark.parametrize("change", [25.0, -25.0])
def test_a_shift_raises_one_alarm_where_it_begins(change: float) -> None:
    times, values = signal(14, seed=2)
    start = 10 * DAY + 40
    values[start : start + 100] += change
    raised = np.flatnonzero(StreamingAlarms().score(times, values, LEARNED))
    inside = raised[(raised >= start) & (raised < start + 100)]
    assert 1 <= len(inside) <= 3 and inside[0] - start <= 2


def test_a_day_like_none_before_is_found_by_its_season() -> None:
    times, values = signal(28, seed=4)
    start = 24 * DAY
    values[start : start + DAY] = 50 + np.random.default_rng(5).normal(size=DAY)  # in range, no wave
    scores = StreamingAlarms().score(times, values, LEARNED)
    assert scores[start : start + DAY].max() > 0


def test_an_alarm_knows_nothing_of_what_follows() -> None:
    times, values = signal(14)
    values[5 * DAY + 7] += 30
    now = 9 * DAY
    changed = values.copy()
    changed[now:] = np.random.default_rng(1).normal(0, 400, len(values) - now)
    before, after = (StreamingAlarms().score(times, v, LEARNED) for v in (values, changed))
    np.testing.assert_allclose(after[LEARNED:now], before[LEARNED:now])
    assert after[now:].max() > 0 and before[LEARNED:now].max() > 0


def test_missing_samples_raise_no_alarm_zeros_do() -> None:
    times, values = signal(14, seed=6)
    gone, zero = values.copy(), values.copy()
    gone[8 * DAY : 8 * DAY + 12], zero[8 * DAY : 8 * DAY + 12] = np.nan, 0.0
    span = slice(8 * DAY, 8 * DAY + 20)
    assert StreamingAlarms().score(times, gone, LEARNED)[span].max() == 0
    assert StreamingAlarms().score(times, zero, LEARNED)[span].max() > 0


def test_what_follows_an_alarm_is_quiet_unless_much_stronger() -> None:
    unusual = np.zeros(2000)
    unusual[[1000, 1001, 1010, 1020, 1100]] = [6.0, 6.5, 7.0, 20.0, 6.0]
    raised = np.flatnonzero(StreamingAlarms(restraint=0.0).alarms(unusual, 0))
    assert raised.tolist() == [1000, 1020, 1100]


def test_many_alarms_raise_the_level() -> None:
    unusual = np.zeros(4000)
    unusual[np.arange(500, 4000, 250)] = 5.0
    eager = np.count_nonzero(StreamingAlarms(restraint=0.0).alarms(unusual, 0))
    restrained = np.count_nonzero(StreamingAlarms(restraint=0.3).alarms(unusual, 0))
    assert eager == 14 and 1 <= restrained < 7


@pytest.mark.parametrize("values", [np.zeros(60), np.full(60, np.nan), np.zeros(0), np.ones(1)])
def test_signals_without_variation_raise_no_alarm(values: np.ndarray) -> None:
    scores = StreamingAlarms().score(300.0 * np.arange(len(values)), values, 10)
    assert scores.shape == values.shape and (scores == 0).all()

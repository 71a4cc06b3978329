"""A budget in words becomes a rate of episodes, and the rate is kept on data that were not used to set it."""

import numpy as np
import pytest
from scipy.signal import lfilter

from forewarn.detection.false_alarm_budget import FalseAlarmBudget, episode_peaks, episodes_above, threshold_for

HOUR = 3600.0


@pytest.mark.parametrize(
    ("words", "per_entity_week"),
    [
        ("one false page per service and week", 1.0),
        ("One false page per week and service.", 1.0),
        ("two false alarms per host per day", 14.0),
        ("at most 3 pages per 10 services and week", 0.3),
        ("0.5 alerts per pod every 2 weeks", 0.25),
        ("a warning per machine and year", 7 / 365.25),
        ("no false page per service and week", 0.0),
    ],
)
def test_words(words: str, per_entity_week: float) -> None:
    assert FalseAlarmBudget.parse(words).per_entity_week == pytest.approx(per_entity_week)


@pytest.mark.parametrize("words", ["", "few", "one page per week", "one per service and week", "1 page per service"])
def test_words_that_are_no_budget(words: str) -> None:
    with pytest.raises(ValueError, match="write it like 'one false page per service and week'"):
        FalseAlarmBudget.parse(words)


def null_scores(seed: int, entities: int, weeks: int, memory: float) -> list[np.ndarray]:
    """Squares of an AR(1) process every 5 minutes: usual rows only, as wide in the tail as scores are."""
    noise = np.random.default_rng(seed).normal(size=(entities, weeks * 2016))
    return list(lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise, axis=1) ** 2)


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("words", ["one false page per service and week", "one false page per service and day"])
def test_realised_rate_is_near_the_budget(memory: float, words: str) -> None:
    budget = FalseAlarmBudget.parse(words)
    threshold = threshold_for(null_scores(1, 20, 4, memory), 300.0, budget, gap=12)
    later = null_scores(2, 20, 4, memory)
    rate = sum(episodes_above(scores, threshold, 12) for scores in later) / (20 * 4)
    assert rate == pytest.approx(budget.per_entity_week, rel=0.35)


def test_a_quantile_of_samples_would_miss_the_budget() -> None:
    scores = null_scores(1, 20, 4, 0.99)
    by_sample = np.quantile(np.concatenate(scores), 1 - 1 / 2016)
    assert sum(episodes_above(s, by_sample, 12) for s in scores) / 80 < 0.6


def test_short_history_is_extrapolated() -> None:
    budget = FalseAlarmBudget.parse("one false page per service and month")
    threshold = threshold_for(null_scores(3, 1, 1, 0.9), 300.0, budget, gap=12)
    later = null_scores(4, 40, 4, 0.9)
    rate = sum(episodes_above(scores, threshold, 12) for scores in later) / (40 * 4)
    assert budget.per_entity_week / 5 < rate < budget.per_entity_week * 5


def test_none_allowed_is_never() -> None:
    assert threshold_for([np.arange(9.0)], HOUR, FalseAlarmBudget(0.0), 3) == np.inf
    with pytest.raises(ValueError, match="there are none"):
        threshold_for([], HOUR, FalseAlarmBudget(1.0), 3)


def test_episodes_by_hand() -> None:
    scores = np.array([0, 5, 0, 4, 0, 0, 0, 6, 0.0])
    assert episodes_above(scores, 3, gap=2) == 2
    assert episodes_above(scores, 3, gap=1) == 3
    assert episode_peaks(scores, 2)[:2].tolist() == [6, 5]

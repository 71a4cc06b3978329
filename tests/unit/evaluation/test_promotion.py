"""Promotion and retraining: each reason not to, and each reason to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from forewarn.evaluation.promotion import Standing, should_promote
from forewarn.evaluation.retraining import Lifecycle, should_retrain

GOOD = Standing("2", 12, 0.9, 0.8, 0.02, 0.06, 0.5, "predict_linear")
NOW = datetime(2026, 5, 4, tzinfo=UTC)
STEADY = Lifecycle(NOW, NOW - timedelta(days=1), NOW - timedelta(days=1), 0.1, 3)


def test_first_good_model_is_promoted() -> None:
    verdict = should_promote(GOOD, None)
    assert verdict.yes and "recall 90%" in verdict.reason and "predict_linear" in verdict.reason


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (replace(GOOD, incidents=0), "no failure"),
        (replace(GOOD, recall=0.3), "below 50%"),
        (replace(GOOD, precision=0.4), "below 50%"),
        (replace(GOOD, brier=0.07), "Brier"),
        (replace(GOOD, best_baseline_f1=0.95), "predict_linear"),
    ],
)
def test_a_weak_candidate_is_not(candidate: Standing, why: str) -> None:
    verdict = should_promote(candidate, None)
    assert not verdict.yes and why in verdict.reason


def test_one_page_more_or_less_decides_nothing() -> None:
    few = replace(GOOD, incidents=2, recall=1.0, precision=0.5, best_baseline_f1=0.8)
    assert should_promote(few, None).yes
    assert not should_promote(replace(few, incidents=20), None).yes


def test_the_champion_stays_where_it_is_better() -> None:
    assert not should_promote(GOOD, replace(GOOD, version="1", recall=0.99, precision=0.99)).yes
    assert should_promote(GOOD, replace(GOOD, version="1", recall=0.7)).yes


@pytest.mark.parametrize(
    ("state", "yes", "why"),
    [
        (STEADY, False, "no drift"),
        (replace(STEADY, drifted_share=0.6), True, "60% of the features"),
        (replace(STEADY, new_outcomes=25), True, "25 predictions"),
        (replace(STEADY, champion_trained_at=NOW - timedelta(days=9)), True, "9.0 days old"),
        (replace(STEADY, drifted_share=0.6, last_training=NOW - timedelta(hours=1)), False, "one training"),
        (replace(STEADY, champion_trained_at=None, drifted_share=0.9), False, "no champion"),
    ],
)
def test_retraining(state: Lifecycle, yes: bool, why: str) -> None:
    verdict = should_retrain(state)
    assert verdict.yes is yes and why in verdict.reason

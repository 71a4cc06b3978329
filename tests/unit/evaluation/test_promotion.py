"""Promotion: each reason not to, and each reason to."""

from dataclasses import replace

import pytest

from forewarn.evaluation.promotion import Standing, should_promote

GOOD = Standing("2", 12, 0.9, 0.8, 0.02, 0.06, 0.5, "predict_linear")


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


def test_pages_are_judged_on_the_whole_history_and_brier_on_the_test_days() -> None:
    unlucky = replace(GOOD, incidents=2, recall=0.5, precision=1.0, best_baseline_f1=1.0, best_baseline="first_day")
    whole = replace(GOOD, incidents=17, recall=0.8, precision=0.85, best_baseline_f1=0.6)
    verdict = should_promote(unlucky, None, whole)
    assert verdict.yes and "17 incidents (2 of the test days" in verdict.reason
    lucky = replace(GOOD, incidents=2, recall=1.0, precision=1.0)
    assert should_promote(lucky, None).yes
    assert (
        "below first_day"
        in should_promote(lucky, None, replace(whole, best_baseline_f1=0.9, best_baseline="first_day")).reason
    )
    assert "below 50%" in should_promote(lucky, None, replace(whole, recall=0.4)).reason
    assert "Brier" in should_promote(replace(lucky, brier=0.07), None, whole).reason
    assert "no failure" in should_promote(replace(lucky, incidents=0), None, whole).reason
    assert "champion's" in should_promote(lucky, replace(GOOD, version="1"), whole).reason


def test_a_warning_that_comes_too_late_to_act_promotes_nothing() -> None:
    assert should_promote(replace(GOOD, early_recall=0.85), None).yes
    late = should_promote(replace(GOOD, early_recall=0.2), None)
    assert not late.yes and "predict_linear" in late.reason


def test_the_champion_stays_where_it_is_better() -> None:
    assert not should_promote(GOOD, replace(GOOD, version="1", recall=0.99, precision=0.99)).yes
    assert should_promote(GOOD, replace(GOOD, version="1", recall=0.7)).yes

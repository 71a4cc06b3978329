"""The ledger's rules, case by case and for all cases."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from incident_records import at, failure, risk

from forewarn.evaluation.ledger import (
    EpisodeResult,
    Prediction,
    episode_of_failure,
    outcome_of_failure,
    outcome_of_feedback,
    outcome_of_watermark,
    outcome_on_arrival,
    track_record,
)

SOON = Prediction.of(risk(0))
HORIZON = 6 * 60


@pytest.mark.parametrize(
    ("minutes", "outcome"),
    [(-0.1, None), (0, "late"), (0.99, "late"), (1, "hit"), (HORIZON, "hit"), (HORIZON + 0.01, None)],
)
def test_a_failure_resolves_what_covered_it(minutes: float, outcome: str | None) -> None:
    found = outcome_of_failure(SOON, at(minutes), 60)
    assert (found.outcome if found else None) == outcome


@pytest.mark.parametrize(
    ("minutes", "inside", "error"), [(100, True, 26), (60, False, 66), (300, False, -174), (84.042, True, 41.958)]
)
def test_lead_error_and_interval(minutes: float, inside: bool, error: float) -> None:
    found = outcome_of_failure(SOON, at(minutes), 60)
    assert found is not None and found.lead_seconds == pytest.approx(minutes * 60)
    assert found.inside_80 is inside and found.error_seconds == pytest.approx(error * 60)


def test_an_unknown_quantile_lies_beyond_everything() -> None:
    unknown = Prediction.of(risk(0, left_hours=None))
    found = outcome_of_failure(unknown, at(100), 60)
    assert found is not None and (found.inside_80, found.error_seconds) == (False, None)


def test_the_horizon_ends_when_the_clock_is_past_it() -> None:
    assert outcome_of_watermark(SOON, at(HORIZON)) is None
    found = outcome_of_watermark(SOON, at(HORIZON + 0.01))
    assert found is not None and (found.outcome, found.resolved_at) == ("expired", at(HORIZON))


def test_confirmed_resolves_nothing() -> None:
    assert outcome_of_feedback(SOON, "confirmed", at(1)) is None
    averted = outcome_of_feedback(SOON, "averted", at(1))
    assert averted is not None and averted.outcome == "averted" and averted.failed_at is None


@given(
    failed=st.none() | st.integers(-60, 500),
    clock=st.none() | st.integers(-60, 500),
    feedback=st.sampled_from([None, "averted", "dismissed"]),
    horizon=st.integers(1, 400),
)
def test_whatever_is_known_a_prediction_has_one_outcome_that_fits(
    failed: int | None, clock: int | None, feedback: str | None, horizon: int
) -> None:
    prediction = Prediction.of(risk(0, horizon_hours=horizon / 60))
    failures = [] if failed is None else [at(failed)]
    found = outcome_on_arrival(prediction, failures, None if clock is None else at(clock), feedback, 60)
    covered = failed is not None and 0 <= failed <= horizon
    if covered:
        assert found is not None and found.outcome == ("late" if failed == 0 else "hit")
    elif feedback is not None:
        assert found is not None and found.outcome == feedback
    elif clock is not None and clock > horizon:
        assert found is not None and found.outcome == "expired"
    else:
        assert found is None
    if found is not None and found.lead_seconds is not None:
        assert math.isfinite(found.lead_seconds) and prediction.predicted_at + timedelta(
            seconds=found.lead_seconds
        ) == (found.failed_at)


def test_a_failure_belongs_to_the_episode_that_warned_first() -> None:
    first, second, withdrawn = risk(0), risk(5), risk(8, revision=1, opened=0, state="withdrawn")
    both = [Prediction.of(first), Prediction.of(second)]
    assert episode_of_failure(failure(10), both) == (first.episode, True)
    assert episode_of_failure(failure(10), [*both, Prediction.of(withdrawn)]) == (second.episode, True)
    assert episode_of_failure(failure(10), [both[0], Prediction.of(withdrawn)]) == (first.episode, False)
    assert episode_of_failure(failure(6), [both[0], Prediction.of(withdrawn)]) == (first.episode, True)
    assert episode_of_failure(failure(-1), both) == (None, False)


def test_the_track_record_leaves_out_what_was_averted() -> None:
    results = [EpisodeResult(str(i), o, False) for i, o in enumerate(["hit"] * 16 + ["late"] + ["expired"] * 2)]
    results += [EpisodeResult("w", "hit", True), EpisodeResult("a", "averted", False)]
    record = track_record(results, missed=4)
    assert record.came_true == (17, 20)
    assert record.sentence == "Predictions like this one came true 17 times of 20 here."
    assert track_record([], 3).sentence == "No predictions of this kind have been resolved yet."


@pytest.mark.parametrize(
    ("acted", "outcome", "resolved"),
    [(None, "expired", HORIZON), (20, "averted", 20), (-1, "expired", HORIZON), (HORIZON + 1, "expired", HORIZON)],
)
def test_what_was_acted_upon_and_did_not_fail_was_averted_then(
    acted: float | None, outcome: str, resolved: float
) -> None:
    acted_at = None if acted is None else at(acted)
    assert outcome_of_watermark(SOON, at(HORIZON), acted_at) is None
    found = outcome_of_watermark(SOON, at(HORIZON + 2), acted_at)
    assert found is not None and (found.outcome, found.resolved_at) == (outcome, at(resolved))

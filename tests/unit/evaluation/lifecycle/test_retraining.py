"""Each cause of a training, and each reason to wait: one cause is one training."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from forewarn.evaluation.lifecycle.evidence import Promised, Realised, at_most, at_most_by_estimate, decay
from forewarn.evaluation.lifecycle.retraining import DriftReport, Lifecycle, Policy, drift_since, should_retrain

NOW = datetime(2026, 5, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEADY = Lifecycle(
    NOW, NOW - 24 * HOUR, NOW - 24 * HOUR, NOW - 24 * HOUR, drift=(DriftReport(NOW - HOUR, 0.1),), new_labels=3
)
GOOD = Promised(0.9, 0.9)


def reports(*shares: float) -> tuple[DriftReport, ...]:
    """One report an hour, the newest now."""
    return tuple(DriftReport(NOW - (len(shares) - 1 - k) * HOUR, share) for k, share in enumerate(shares))


@pytest.mark.parametrize(
    ("state", "yes", "why"),
    [
        (STEADY, False, "no drift"),
        (replace(STEADY, rolled_back="7"), True, "7 was rolled back, the first-day model serves"),
        (
            replace(STEADY, drift=(DriftReport(NOW, 0.1, {"shop/a|m": 0.02}),)),
            True,
            "shop/a|m by +2.0 % of its limit",
        ),
        (replace(STEADY, drift=reports(0.6)), True, "60% of the features"),
        (replace(STEADY, new_labels=25), True, "25 new labels"),
        (replace(STEADY, last_training=NOW - 9 * 24 * HOUR), True, "9.0 days ago"),
        (replace(STEADY, new_kinds=("a", "b", "c", "d")), True, "a, b, c …"),
        (replace(STEADY, realised=Realised(3, 12), promised=GOOD), True, "precision was 3 of 15"),
        (replace(STEADY, realised=Realised(4, 0, 11), promised=GOOD), True, "recall was 4 of 15"),
        (replace(STEADY, realised=Realised(30, 0, 0, 8, 30), promised=GOOD), True, "held 8 of 30"),
        (replace(STEADY, champion_trained_at=None, drift=reports(0.9)), False, "no champion"),
        (replace(STEADY, drift=reports(0.6), running=True), False, "is running"),
        (replace(STEADY, drift=reports(0.6), last_training=NOW - HOUR), False, "trained 1.0 h ago"),
        (replace(STEADY, drift=reports(0.6), last_attempt=NOW - HOUR), False, "again after 6.0 h"),
        (replace(STEADY, drift=reports(0.6), last_attempt=NOW - 7 * HOUR, failed_since=1), False, "1 failed"),
        (replace(STEADY, drift=reports(0.6), last_attempt=NOW - 13 * HOUR, failed_since=1), True, "60%"),
        (replace(STEADY, drift=reports(0.6), last_attempt=NOW - 99 * HOUR, failed_since=4), False, "by hand"),
    ],
)
def test_each_cause_and_each_reason_to_wait(state: Lifecycle, yes: bool, why: str) -> None:
    verdict = should_retrain(state)
    assert verdict.yes is yes and why in verdict.reason


def test_one_drift_is_one_training() -> None:
    """Drift that lasts through the training that answered it asks for no other one; a new drift does."""
    policy = Policy(cooldown=timedelta(0))
    trained = replace(STEADY, last_training=NOW - 1.5 * HOUR, last_attempt=None)
    lasting = replace(trained, drift=reports(0.1, 0.6, 0.6, 0.55, 0.6))
    verdict = should_retrain(lasting, policy)
    assert not verdict.yes and "answered by the last training" in verdict.reason
    assert should_retrain(replace(trained, drift=reports(0.6, 0.6, 0.1, 0.6)), policy).yes  # it ended and came again
    grown = should_retrain(replace(trained, drift=reports(0.6, 0.6, 0.85)), policy)
    assert grown.yes and "it has grown" in grown.reason
    first, more = DriftReport(NOW - 2 * HOUR, 0.1, {"a": 0.1}), DriftReport(NOW, 0.1, {"a": 0.1, "b": -0.1})
    assert "answered" in should_retrain(replace(trained, drift=(first, replace(more, moved={"a": 0.2}))), policy).reason
    grown = should_retrain(replace(trained, drift=(first, more)), policy)
    assert grown.yes and "b by -10.0 % of its limit" in grown.reason
    assert not should_retrain(replace(trained, drift=reports(0.6, 0.6, 0.6, 0.1)), policy).yes


def test_a_drift_begins_with_the_first_of_its_reports() -> None:
    assert drift_since(()) is None
    assert drift_since(reports(0.6, 0.1)) is None
    assert drift_since(reports(0.6, 0.1, 0.5, 0.7)) == 2


def test_a_model_that_is_as_promised_does_not_decay() -> None:
    """At the promised rate, chance alone makes less than one verdict in a hundred (each of two is tested)."""
    import numpy as np

    rng = np.random.default_rng(0)
    decayed = 0
    for _ in range(400):
        true, found = rng.binomial(20, 0.9), rng.binomial(20, 0.9)
        decayed += decay(Realised(true, 20 - true, max(0, 20 - found), 16, 20), GOOD, 10, 0.01).yes
    assert decayed <= 8


def test_nothing_is_said_of_few() -> None:
    assert not decay(Realised(0, 9), GOOD, 10, 0.01).yes
    assert decay(Realised(0, 10), GOOD, 10, 0.01).yes
    assert not decay(Realised(0, 10), Promised(), 10, 0.01).yes
    assert at_most(0, 10, 0.5) == pytest.approx(0.5**10)


def test_promises_are_read_from_the_registrys_metrics() -> None:
    metrics = {"precision": {"value": 0.8, "baselines": {"x": 0.1}}, "recall": {"value": None}}
    assert Promised.of(metrics) == Promised(0.8, None)


def test_the_ledger_counts_signals_and_is_held_against_signals() -> None:
    """An incident drags three signals along with the one that was foretold: the backtest had the same."""
    metrics = {name: {"value": v} for name, v in
               (("precision", 1.0), ("recall", 1.0), ("signal_precision", 0.7), ("signal_recall", 0.4))}  # fmt: skip
    promised = Promised.of(metrics)
    assert promised == Promised(0.7, 0.4)
    assert not decay(Realised(5, 2, 10), promised, 8, 1e-3).yes


def test_a_backtest_of_few_signals_promises_little() -> None:
    few, many = Promised(1.0, 1.0, 4, 4), Promised(1.0, 1.0, 400, 400)
    bad = Realised(6, 0, 8)
    assert not decay(bad, few, 8, 1e-3).yes
    assert decay(bad, many, 8, 1e-3).yes
    assert decay(Realised(0, 0, 60), few, 8, 1e-3).yes  # nothing at all is below any promise
    assert at_most_by_estimate(6, 14, 1.0, 1e7) == pytest.approx(at_most(6, 14, 0.85), rel=1e-3)
    assert at_most_by_estimate(14, 14, 0.5, 10) == pytest.approx(1.0)

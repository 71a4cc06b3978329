"""Each way in which a champion breaks, and what is no fault of its own."""

from dataclasses import replace

import pytest

from forewarn.evaluation.lifecycle.evidence import Promised, Realised
from forewarn.evaluation.lifecycle.rollback import ServingState, Smoke, Vitals, should_roll_back

BEFORE = Vitals(batches=1000, rows=60_000, abstained=3000, opened=6, came_true=5, p99_seconds=0.02)
WELL = ServingState("2", replace(BEFORE, batches=100, rows=6000, abstained=300, opened=1, came_true=0), BEFORE)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"errors": 20, "last_error": "NaN"}, r"20 of 100 batches failed \(NaN\)"),
        ({"p99_seconds": 2.0}, r"takes 2.00 s \(p99\), it took 0.02 s"),
        ({"opened": 40}, "40 risks told that have not come true"),
        ({"abstained": 5900}, "of 98% of the rows nothing is said, it was 5%"),
    ],
)
def test_a_broken_champion_goes(changed: dict[str, float], why: str) -> None:
    import re

    verdict = should_roll_back(replace(WELL, now=replace(WELL.now, **changed)))
    assert verdict.yes and re.search(why, verdict.reason)


def test_one_that_cannot_be_loaded_goes_before_it_has_scored() -> None:
    verdict = should_roll_back(ServingState("2", Vitals(), None, refused="its checksum differs"))
    assert verdict.yes and "cannot be loaded: its checksum differs" in verdict.reason
    verdict = should_roll_back(ServingState("2", Vitals(errors=1, last_error="no such model")))
    assert verdict.yes and "no predictor can take it up (no such model)" in verdict.reason


def test_one_that_is_wrong_beyond_chance_goes() -> None:
    state = replace(WELL, realised=Realised(0, 10), promised=Promised(0.9, 0.9))
    assert "precision was 0 of 10" in should_roll_back(state).reason


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"errors": 2},
        {"p99_seconds": 0.4},  # twenty times as long, and quick enough
        {"opened": 40, "came_true": 38},  # a bad day
        {"opened": 4},
        {"abstained": 1500},
    ],
)
def test_what_is_no_fault_stays(changed: dict[str, float]) -> None:
    verdict = should_roll_back(replace(WELL, now=replace(WELL.now, **changed)))
    assert not verdict.yes and "100 batches" in verdict.reason


def test_nothing_is_compared_with_nothing() -> None:
    flooding = replace(WELL.now, opened=500)
    assert not should_roll_back(replace(WELL, now=flooding, before=None)).yes
    assert not should_roll_back(replace(WELL, now=flooding, before=replace(BEFORE, rows=10))).yes
    assert not should_roll_back(replace(WELL, now=replace(flooding, rows=900))).yes


def test_one_that_is_blind_goes_before_it_has_missed_anything() -> None:
    before = Smoke(60, 54)
    assert "sees 1 of 20 synthetic" in should_roll_back(replace(WELL, smoke=Smoke(20, 1), smoke_before=before)).reason
    assert not should_roll_back(replace(WELL, smoke=Smoke(20, 12), smoke_before=before)).yes  # a raised threshold
    assert not should_roll_back(replace(WELL, smoke=Smoke(9, 0), smoke_before=before)).yes
    assert not should_roll_back(replace(WELL, smoke=Smoke(20, 0), smoke_before=Smoke(3, 3))).yes

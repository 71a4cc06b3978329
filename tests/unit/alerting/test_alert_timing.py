"""Now or at the next working hour: by the chance of a breach before a fix, with fix times that are learned."""

from datetime import UTC, datetime, timedelta

import pytest

from forewarn.alerting.fix_times import FixTime, FixTimes, fix_time
from forewarn.alerting.policy import WorkingHoursSpec
from forewarn.alerting.timing import breach_probability, when_to_tell
from forewarn.risk.records import TimeToFailure

HOURS = WorkingHoursSpec(timezone="Europe/Berlin").calendar()
NIGHT = datetime(2026, 6, 2, 22, 0, tzinfo=UTC)  # Tuesday midnight in Berlin: nine hours until work
FIX = FixTime(timedelta(minutes=40), timedelta(hours=1), 12)
H = 3600.0


def tell(ttf: TimeToFailure | None, elapsed: float = 0.0, now: datetime = NIGHT, fix: FixTime = FIX) -> object:
    return when_to_tell(ttf, elapsed, now, HOURS, fix, 0.1)


def test_what_lasts_until_the_morning_waits_and_says_why() -> None:
    found = tell(TimeToFailure(14 * H, 20 * H, 30 * H, 0.05))
    assert found.until == datetime(2026, 6, 3, 7, 0, tzinfo=UTC)  # type: ignore[attr-defined]
    assert found.why == (  # type: ignore[attr-defined]
        "waits until Wed 09:00: a fix that begins then is done in 10 h (80 % take up to 60 min, learned from 12 "
        "incidents); probability of a breach before: 7 %, accepted: 10 %"
    )


def test_what_could_come_before_a_fix_is_told_at_once() -> None:
    found = tell(TimeToFailure(6 * H, 9 * H, 14 * H, 0.05))
    assert found.until is None and "told now, outside working hours (Wed 00:00)" in found.why  # type: ignore[attr-defined]


def test_a_longer_fix_time_changes_the_decision() -> None:
    ttf = TimeToFailure(12 * H, 16 * H, 24 * H, 0.05)
    assert tell(ttf).until is not None  # type: ignore[attr-defined]
    assert tell(ttf, fix=FixTime(timedelta(hours=4), timedelta(hours=6), 3)).until is None  # type: ignore[attr-defined]


def test_time_that_has_passed_counts() -> None:
    ttf = TimeToFailure(14 * H, 20 * H, 30 * H, 0.05)
    assert tell(ttf, elapsed=8 * H).until is None  # type: ignore[attr-defined]


def test_at_work_and_without_working_hours_nothing_is_decided() -> None:
    noon = datetime(2026, 6, 3, 10, 0, tzinfo=UTC)
    ttf = TimeToFailure(100 * H, 200 * H, 300 * H, 0.0)
    assert tell(ttf, now=noon) == when_to_tell(ttf, 0, NIGHT, None, FIX, 0.1) == tell(None, now=noon)
    assert tell(ttf, now=noon).why == ""  # type: ignore[attr-defined]


def test_what_has_failed_does_not_wait() -> None:
    assert tell(None).until is None and "it has failed" in tell(None).why  # type: ignore[attr-defined]


def test_the_probability_follows_the_quantiles() -> None:
    ttf = TimeToFailure(1 * H, 2 * H, 4 * H, 0.0)
    at = [breach_probability(ttf, 0, s) for s in (0, 1 * H, 2 * H, 4 * H, 6 * H)]
    assert at == pytest.approx([0, 0.1, 0.5, 0.9, 1.0])
    assert breach_probability(ttf, 2 * H, 2 * H) == pytest.approx(0.8), "half of it is over: 0.4 of 0.5 are left"
    assert breach_probability(TimeToFailure(1 * H, 2 * H, 4 * H, 0.5), 0, 4 * H) == pytest.approx(0.45)
    assert breach_probability(TimeToFailure(None, None, None, 0.9), 0, 9 * H) == 0


def test_fix_times_begin_with_the_prior_and_end_with_what_was_seen() -> None:
    prior = timedelta(minutes=45)
    assert fix_time([], prior).median == prior and fix_time([], prior).learned_from == 0
    seen = fix_time([7200.0] * 50, prior)
    assert seen.median.total_seconds() == pytest.approx(7200, rel=0.1) and seen.learned_from == 50
    assert seen.median < seen.p80 < fix_time([600.0, 7200.0, 60.0, 80_000.0] * 10, prior).p80
    assert fix_time([7200.0], prior).median < timedelta(hours=1), "one incident does not outweigh the prior"


def test_priors_of_the_file_win() -> None:
    times = FixTimes({}, {"disk_full": timedelta(hours=8)})
    assert times.of("disk_full").median == timedelta(hours=8)
    assert times.of("never seen").median == timedelta(minutes=45)

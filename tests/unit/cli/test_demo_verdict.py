"""The demo's verdict: each promise can be broken, and then it says which."""

from datetime import UTC, datetime, timedelta

from forewarn.cli.demo.facts import Failed, Told
from forewarn.cli.demo.verdict import TrueFailure, checks
from forewarn.incidents.records import Incident

FAILED_AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
POOL = ("shop/api", "db.client.connections.usage")
SINCE = FAILED_AT - timedelta(hours=3)
TRUTH = [TrueFailure(*POOL, FAILED_AT, FAILED_AT + timedelta(minutes=30), SINCE)]
WARNINGS = [(*POOL, FAILED_AT - timedelta(hours=1))]
SEEN = [Failed(*POOL, FAILED_AT, True)]


def told(outcome: str | None = "hit", entity: str = POOL[0]) -> Told:
    return Told(
        entity, POOL[1], "connection_exhaustion", FAILED_AT - timedelta(hours=1), 1800, 3600, 7200, 0.8,
        outcome, FAILED_AT, 3600.0, True,
    )  # fmt: skip


def paged(entity: str, failed: bool) -> Incident:
    return Incident(
        "i", 0, "predicted", "critical", "t", entity, POOL[1], "connection_exhaustion", [], FAILED_AT, FAILED_AT, None,
        FAILED_AT if failed else None, [], [], "s",
    )  # fmt: skip


def kept(*arguments: object) -> list[bool]:
    return [check.kept for check in checks(*arguments, WARNINGS)]  # type: ignore[call-arg,arg-type]


def test_what_was_told_before_the_trouble_began_came_true_by_chance() -> None:
    early = (*POOL, SINCE - timedelta(minutes=10))
    assert not checks(TRUTH, [told()], SEEN, [], [early])[0].kept
    renewed = checks(TRUTH, [told()], SEEN, [], [early, (*POOL, FAILED_AT - timedelta(minutes=42))])[0]
    assert renewed.kept and "42 min" in renewed.text
    assert not checks(TRUTH, [told("late")], SEEN, [], WARNINGS)[0].kept


def test_all_promises_kept() -> None:
    assert kept(TRUTH, [told()], SEEN, [paged("shop/api", True)]) == [True, True, True]


def test_no_hit_is_no_prediction() -> None:
    assert kept(TRUTH, [told("late")], SEEN, []) == [False, True, True]
    assert kept(TRUTH, [], SEEN, []) == [False, True, True]


def test_a_healthy_entity_that_was_paged_is_named() -> None:
    check = checks(TRUTH, [told()], SEEN, [paged("shop/cache", False)], WARNINGS)[1]
    assert not check.kept
    assert "shop/cache" in check.text


def test_a_failure_too_many_or_too_few_in_the_ledger_is_found() -> None:
    invented = [*SEEN, Failed("shop/cache", "redis.memory.usage", FAILED_AT, False)]
    assert kept(TRUTH, [told()], invented, []) == [True, True, False]
    assert kept(TRUTH, [told()], [], []) == [True, True, False]
    late = [Failed(*POOL, FAILED_AT + timedelta(hours=2), True)]
    assert not kept(TRUTH, [told()], late, [])[2]


def test_where_nothing_fails_silence_is_asked_for() -> None:
    assert kept([], [], [], []) == [True, True, True]
    assert kept([], [], [], [paged("shop/api", False)]) == [True, False, True]

"""Conditions of alert rules: what they hold for, what is refused and where, and that text from outside runs nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.alerting.policy_file import PolicyError
from forewarn.alerting.rules.condition import Condition
from forewarn.alerting.rules.facts import Facts, Filling, OpenRisk, Reading, Subject, Window
from forewarn.alerting.rules.file import parse_rules
from forewarn.alerting.rules.firing import Key, Standing, step, subjects
from forewarn.alerting.rules.rule import Rule
from forewarn.alerting.rules.syntax import ConditionError, parse
from forewarn.risk.records import TimeToFailure

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DISK = "system.filesystem.usage"


def reading(value: float | None, limit: float | None = 100.0, name: str = DISK, **attributes: str) -> Reading:
    windows = {600.0: Window(50.0, 10.0, 90.0, 0.5)}
    return Reading(name, tuple(sorted(attributes.items())), "By", value, NOON, limit, windows)


def facts(*readings: Reading, probability: float = 0.9) -> Facts:
    risk = OpenRisk(
        "pool", "connection_exhaustion", NOON, 43_200.0, probability, TimeToFailure(600.0, 3600.0, 7200.0, 0.1)
    )
    filling = Filling("disk", "disk_full", NOON, ((3600.0, 0.0), (86_400.0, 0.5)), {"p50": 86_400.0})
    by_signal: dict[str, list[Reading]] = {}
    for one in readings:
        by_signal.setdefault(one.signal, []).append(one)
    return Facts({"shop": NOON}, {"shop/db": by_signal}, {"shop/db": [risk]}, {"shop/db": [filling]})


def holds(text: str, *readings: Reading, at: datetime = NOON) -> bool | None:
    known = facts(*readings)
    series = readings[0] if readings else None
    return Condition.of(text).verdict(Subject("shop/db", at, known, series, {"team": "checkout"})).holds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value('system.filesystem.usage') / limit('system.filesystem.usage') > 0.8", True),
        ("value('system.filesystem.usage') / limit('system.filesystem.usage') > 0.9", False),
        ("probability(connection_exhaustion, 3h) > 0.8 and entity.team == 'checkout'", True),
        ("probability('any', 30m) > 0.5", False),
        ("probability(disk_full, 1d) >= 0.5", True),
        ("probability(error_rate_climb, 3h) > 0", False),
        ("probability(saturation, 3h) > 0.7", True),
        ("time_to_failure(p50) < 2h", True),
        ("time_to_failure(p50, disk_full) < 23h", False),
        ("time_to_failure(p50, latency_breach) < 365d", False),
        ("max('system.filesystem.usage', 10m) - min('system.filesystem.usage', 10m) == 80", True),
        ("rate('system.filesystem.usage', 10m) * 1m == 30", True),
        ("entity in ('shop/api', 'shop/db') and value('system.filesystem.usage') > 1", True),
        ("not (entity.name == 'db') or value('system.filesystem.usage') < 85", True),
        ("value('system.cpu.utilization') > 0", None),
        ("value('system.filesystem.usage') / 0 > 1", None),
        ("mean('system.filesystem.usage', 20m) > 1", None),
        ("entity.team > 3 and value('system.filesystem.usage') > 1", None),
    ],
)
def test_a_condition_holds_or_not_or_is_unknown(text: str, expected: bool | None) -> None:
    assert holds(text, reading(81.0)) is expected


def test_old_samples_and_missing_limits_are_unknown_not_false() -> None:
    assert holds(f"value('{DISK}') > 1", reading(81.0), at=NOON + timedelta(minutes=6)) is None
    assert holds(f"limit('{DISK}') > 1", reading(81.0, limit=None)) is None
    assert holds(f"value('{DISK}') > 1", reading(None)) is None


def test_each_series_is_judged_by_itself_and_an_attribute_narrows() -> None:
    known = facts(reading(95.0, mountpoint="/"), reading(10.0, mountpoint="/data"))
    ratio = Rule(name="disk", when=f"value('{DISK}') / limit('{DISK}') > 0.8")
    found = {s.series_name: ratio.condition.verdict(s).holds for s in subjects(ratio, known, lambda entity: {})}
    assert found == {f"{DISK}{{mountpoint=/}}": True, f"{DISK}{{mountpoint=/data}}": False}
    narrow = Rule(name="disk", when=f"value('{DISK}{{mountpoint=/data}}') > 1")
    assert [s.series_name for s in subjects(narrow, known, lambda entity: {})] == [f"{DISK}{{mountpoint=/data}}"]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("valeu('x') > 1", 0, "did you mean 'value'"),
        ("1 < probability(satur, 3h)", 16, "did you mean 'saturation'"),
        ("probability(any, 3) > 1", 17, "takes a duration"),
        ("mean('x', 2h) > 1", 10, "at most 1h"),
        ("value(x) > 1", 6, "in quotes"),
        ("value('x').real > 1", 0, "only entity has a dot"),
        ("entity.__class__ == value('x')", 0, "has no '__class__'"),
        ("__import__('os').system('true')", 0, "only"),
        ("(lambda: 1)() > value('x')", 0, "only the functions"),
        ("[value('x') for y in 'ab']", 0, "not allowed"),
        ("value('x') ** 9999999 > 1", 0, "not allowed"),
        ("'a' * 99999 > value('x')", 0, "not calculated with"),
        ("3h > 2h", 0, "looks at nothing"),
        ("value('x') >", 12, "cannot be read"),
        ("value('x') > 400d", 13, "a year"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, column: int, words: str) -> None:
    with pytest.raises(ConditionError, match=words) as raised:
        parse(text)
    assert raised.value.column == column


@given(st.text(max_size=200) | st.text("()[]{}'\".,+-*/<>=!3h p10entityvalue_ford%\\\n", max_size=120))
def test_garbage_never_crashes(text: str) -> None:
    try:
        condition = Condition.of(text)
    except ConditionError as error:
        assert 0 <= error.column <= len(text)
        return
    verdict = condition.verdict(Subject("shop/db", NOON, facts(reading(1.0)), reading(1.0)))
    assert verdict.holds in (True, False, None)


_TERMS = st.sampled_from(
    [
        f"value('{DISK}')",
        f"limit('{DISK}')",
        "probability(any, 3h)",
        "time_to_failure(p90)",
        "2h",
        "1e308",
        "entity.team",
    ]
)
_OPERATORS = st.sampled_from(["+", "-", "*", "/", "<", ">", "==", "and", "or", "in"])


@given(st.recursive(_TERMS, lambda inner: st.builds("({} {} {})".format, inner, _OPERATORS, inner), max_leaves=12))
def test_whatever_is_well_formed_is_answered(text: str) -> None:
    try:
        condition = Condition.of(text)
    except ConditionError:
        return
    assert condition.verdict(Subject("shop/db", NOON, facts(reading(1.0)), reading(1.0))).holds in (True, False, None)


_DEEP = ["(" * 1900, "-" * 1999 + "1", "value('x')" + "+1" * 900, "[" * 500 + "]" * 500, "not " * 480 + "1"]


@pytest.mark.parametrize("text", _DEEP, ids=range(len(_DEEP)))
def test_what_is_too_deep_is_refused(text: str) -> None:
    with pytest.raises(ConditionError):
        parse(text)


def test_a_file_is_read_with_for_in_either_place() -> None:
    file = parse_rules(
        f"rules:\n  - name: disk\n    when: value('{DISK}') > 0.8 for 10m\n    severity: critical\n"
        f"  - {{name: other, when: \"value('{DISK}') > 1\", for: 5m, channels: [console]}}\n",
        channels={"console"},
    )
    assert [rule.held_for for rule in file.rules] == [timedelta(minutes=10), timedelta(minutes=5)]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("rules:\n  - name: a\n    when: valeu('x') > 1\n", 3, 11, "did you mean 'value'"),
        ('rules:\n  - name: a\n    when: "1 < probability(satur, 3h)"\n', 3, 28, "saturation"),
        ("rules:\n  - name: a\n    wen: value('x') > 1\n    when: value('x') > 1\n", 3, 10, "not known"),
        ("rules:\n  - name: a\n", 2, 5, "missing"),
        ("rules:\n  - name: a\n    when: value('x') > 1 for 5m\n    for: 5m\n", 2, 5, "twice"),
        ("rules:\n  - {name: a, when: value('x') > 1}\n  - {name: a, when: value('x') > 1}\n", 3, 12, "already"),
        ("rules:\n  - {name: a, when: value('x') > 1, channels: [slak]}\n", 2, 48, "did you mean 'slack'"),
        ("- a\n", 1, 1, "must have 'rules:'"),
        ("rules: [\n", 2, 1, "no YAML"),
    ],
)
def test_a_wrong_file_is_said_with_line_and_column(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as raised:
        parse_rules(text, channels={"slack", "console"})
    problem = raised.value.problems[0]
    assert (problem.line, problem.column) == (line, column)


@given(st.text(max_size=100))
def test_a_file_of_garbage_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_rules(text)


def test_a_rule_fires_once_after_its_time_and_ends_once() -> None:
    rule = Rule.model_validate({"name": "a", "when": "value('x') > 1", "for": "10m", "keep_firing_for": "5m"})
    key, state, events = Key("a", "shop/db"), None, []
    truth = [True, True, None, True, True, True, True, False, True, False, False, None]
    for number, holding in enumerate(truth):
        verdict = rule.condition.verdict(Subject("shop/db", NOON, Facts({}))).__class__(holding)
        taken = step(rule, key, state, verdict, NOON + number * timedelta(minutes=4))
        state: Standing | None = taken.standing
        events.append(taken.event)
    expected = ["begin", "", "end", "begin", "", "", "fire", "", "", "", "resolve", ""]
    assert events == expected

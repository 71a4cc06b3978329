"""Buckets: what is counted, when it is told, what is zero, absent and late; and that a dump changes nothing."""

import numpy as np
import pytest
from connector_records import line, read

from forewarn.telemetry.connectors.kinds import LOGS
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import SignalStream
from forewarn.telemetry.otlp_logs import LogRecord

OPTIONS = Options(bucket=10, allowance=30, alive=60, learning=0)


def test_a_bucket_is_told_at_its_end_once_the_allowance_has_passed() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    assert stream.take([line(1), line(2, severity="ERROR"), line(9.9)]) == []
    assert stream.take([line(39.9)]) == []
    told = stream.take([line(40)])
    assert read(told, "log.records.rate") == {10: 0.3}
    assert read(told, "log.records.error_ratio") == {10: pytest.approx(1 / 3)}
    assert read(told, "log.severity.rate{log.severity=ERROR}") == {10: 0.1}


def test_what_comes_within_the_allowance_counts_and_what_comes_later_is_counted_as_late() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    told = stream.take([line(1)]) + stream.take([line(35)]) + stream.take([line(2)]) + stream.take([line(41)])
    assert stream.counters == {"records": 4, "late": 0}
    told += stream.take([line(3)])
    assert stream.counters == {"records": 5, "late": 1}
    assert read(told, "log.records.rate") == {10: 0.2}


def test_silence_is_zero_while_the_source_is_alive_and_absent_after() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    told = stream.take([line(1)]) + stream.take([line(1000)]) + stream.take([line(1100)])
    zeros = dict.fromkeys([*range(20, 80, 10), *range(1020, 1071, 10)], 0.0)
    assert read(told, "log.records.rate") == {10: 0.1, 1010: 0.1} | zeros
    assert read(told, "log.records.error_ratio") == {10: 0.0, 1010: 0.0}, "no ratio of nothing"


def test_a_quiet_entity_is_closed_by_the_clock_of_its_namespace_alone() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    told = stream.take([line(1)]) + stream.take([line(500, entity="other/x")])
    assert told == []
    told = stream.take([line(45, entity="shop/db")])
    assert read(told, "log.records.rate") == {10: 0.1}


def test_pieces_of_history_one_entity_after_the_other_are_not_late() -> None:
    stream, told = SignalStream(LOGS, OPTIONS), []
    for hour in range(3):
        for entity in ("shop/a", "shop/b", "shop/c"):
            told += stream.take([line(hour * 3600 + s, entity=entity) for s in range(0, 3600, 5)])
    assert stream.counters["late"] == 0
    told += stream.close_idle()
    for entity in ("shop/a", "shop/b", "shop/c"):
        assert read(told, "log.records.rate", entity) == dict.fromkeys(range(10, 3 * 3600 + 1, 10), 0.2)


def test_buckets_are_no_narrower_than_the_cells_of_the_namespace() -> None:
    stream = SignalStream(LOGS, OPTIONS, {"shop": 60.0}.get)  # type: ignore[arg-type]
    told = stream.take([line(s) for s in range(20)]) + stream.take([line(500)])
    assert set(np.diff(sorted(read(told, "log.records.rate")))) <= {60}


def test_a_dump_and_its_restoration_change_nothing() -> None:
    rng = np.random.default_rng(3)
    verbs = ("took", "lost", "found", "sent {n}", "user {n} of shard{n} gone", "{h} is here")
    lines = [
        line(s, f"{rng.choice(verbs)} {rng.integers(99)}".format(n=s, h=rng.bytes(4).hex()), f"shop/{s % 3}")
        for s in range(3000)
    ]
    parts = [lines[k : k + 50] for k in range(0, len(lines), 50)]
    straight = SignalStream(LOGS, OPTIONS)
    expected = [straight.take(part) for part in parts]
    broken = SignalStream(LOGS, OPTIONS)
    for part, want in zip(parts, expected, strict=True):
        saved = SignalStream(LOGS, OPTIONS)
        saved.restore(broken.dump())
        got = saved.take(part)
        assert [(o.entity, o.series) for o in got] == [(o.entity, o.series) for o in want]
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one.times, other.times)
            np.testing.assert_array_equal(one.values, other.values)
        broken = saved
        broken._dirty |= set(broken._entities)  # all of it is dumped each time


def test_a_silent_partition_can_be_closed_and_goes_on() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    assert stream.take([line(1), line(12)]) == []
    assert read(stream.close_idle(), "log.records.rate") == {10: 0.1, 20: 0.1}
    assert stream.close_idle() == []
    assert read(stream.take([line(25)]) + stream.close_idle(), "log.records.rate") == {30: 0.1}


def test_what_came_first_later_has_no_zeros_before() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    told = stream.take([line(1), line(12), line(32, severity="ERROR")]) + stream.take([line(100)])
    quiet = dict.fromkeys(range(50, 71, 10), 0.0)
    assert read(told, "log.severity.rate{log.severity=INFO}") == {10: 0.1, 20: 0.1, 30: 0.0, 40: 0.0} | quiet
    assert read(told, "log.severity.rate{log.severity=ERROR}") == {40: 0.1} | quiet


def test_a_clock_at_the_end_of_time_is_left_out() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    assert stream.take([line(1), LogRecord(2**63 - 1, "shop/api", "INFO", "hello")]) == []
    assert stream.counters == {"records": 1, "late": 1}
    assert read(stream.close_idle(), "log.records.rate") == {10: 0.1}

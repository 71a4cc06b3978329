"""A line that comes where it never came is told; a burst does not make itself usual; nothing grows without bound."""

import time

import msgspec
import numpy as np
from connector_records import line, read

from forewarn.telemetry.connectors.followers import MOST_CONTEXTS, MOST_FOLLOWERS, Followers
from forewarn.telemetry.connectors.kinds import LOGS
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import EntitySignals, SignalStream

CYCLE = ["begin the transaction", "read from the cache", "write to the store", "commit and leave"]
WRONG = [CYCLE[0], CYCLE[3], CYCLE[2], CYCLE[1]]  # the same lines, as often, in an order that never came
OPTIONS = Options(allowance=0, learning=100)


def lines(first: float, cycle: list[str], times: int) -> list:
    """Ten lines a second."""
    return [line(first + k / 10, cycle[k % len(cycle)]) for k in range(times * len(cycle))]


def test_known_lines_in_an_order_that_never_came_are_told() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    told: list[EntitySignals] = []
    for records in (lines(0, CYCLE, 75), lines(30, CYCLE, 425), lines(200, WRONG, 25), lines(210, CYCLE, 50)):
        told += stream.take(records)
    told += stream.close_idle()
    surprise = read(told, "log.surprise.ratio")
    assert min(surprise) >= 100  # while templates are learned, nothing is said
    assert all(value == 0.0 for end, value in surprise.items() if end <= 200)
    assert surprise[210] > 0.7  # the burst is one bucket, and judged by what came before it
    assert surprise[230] == 0.0
    assert read(told, "log.templates.new")[210] == 0.0  # no template was new


def test_interleaved_requests_are_usual_and_a_restart_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    active, records = [0, 1, 2, 3, 0, 1, 2, 3], []
    for k in range(6_000):
        i = int(rng.integers(8))
        records.append(line(k / 10, CYCLE[active[i]]))
        active[i] = (active[i] + 1) % 4
    whole, stopped = SignalStream(LOGS, OPTIONS), SignalStream(LOGS, OPTIONS)
    told = [one for k in range(0, 6_000, 100) for one in whole.take(records[k : k + 100])]
    before = [one for k in range(0, 3_000, 100) for one in stopped.take(records[k : k + 100])]
    again = SignalStream(LOGS, OPTIONS)
    again.restore(stopped.dump())
    before += [one for k in range(3_000, 6_000, 100) for one in again.take(records[k : k + 100])]
    surprise = read(told, "log.surprise.ratio")
    assert len(surprise) > 40 and max(surprise.values()) < 0.05
    assert read(before, "log.surprise.ratio") == surprise


def test_state_from_before_neighbours_were_counted_is_taken_up() -> None:
    stream = SignalStream(LOGS, OPTIONS)
    stream.take(lines(0, CYCLE, 75))
    dumped = stream.dump()
    old = msgspec.msgpack.decode(dumped["shop/api"])
    for name in ("followers", "last"):
        del old["meter"][name]
    for bucket in old["open"].values():
        del bucket["pairs"]
    again = SignalStream(LOGS, OPTIONS)
    again.restore({**dumped, "shop/api": msgspec.msgpack.encode(old)})
    told = again.take(lines(30, CYCLE, 100)) + again.take(lines(70, CYCLE, 325)) + again.close_idle()
    assert read(told, "log.surprise.ratio")[200] == 0.0


def test_however_lines_come_in_messages_the_same_is_told() -> None:
    records = lines(0, CYCLE, 500) + lines(200, WRONG, 25) + lines(210, CYCLE, 50)
    found = []
    for size in (7, 400, len(records)):
        stream = SignalStream(LOGS, OPTIONS)
        told = [one for k in range(0, len(records), size) for one in stream.take(records[k : k + size])]
        found.append(read(told + stream.close_idle(), "log.surprise.ratio"))
    assert found[0] == found[1] == found[2] and max(found[0].values()) > 0.7


def test_a_few_lines_say_nothing() -> None:
    followers = Followers()
    followers.learn({"a": {"b": 40}})
    assert followers.unexpected("a", "c") is None
    followers.learn({"a": {"b": 40}})
    assert followers.unexpected("a", "c") is True and followers.unexpected("a", "b") is False
    assert followers.unexpected("x", "b") is None


def test_what_becomes_usual_is_expected_after_a_while() -> None:
    followers = Followers()
    followers.learn({"a": {"b": 5_000}})
    assert followers.unexpected("a", "c")
    followers.learn({"a": {"c": 500}})
    assert followers.unexpected("a", "c")  # often, but in one bucket alone
    for _ in range(60):
        followers.learn({"a": {"b": 20, "c": 20}})
    assert followers.unexpected("a", "c") is False


def test_counts_are_bounded_and_cheap() -> None:
    followers, rng = Followers(), np.random.default_rng(0)
    began = time.process_time()
    for _ in range(50):
        pairs: dict[str, dict[str, int]] = {}
        for a, b in rng.integers(0, 5_000, (500, 2)).tolist():
            pairs.setdefault(str(a), {})[str(b)] = 1
        followers.learn(pairs)
    assert time.process_time() - began < 10.0
    assert len(followers.after) == len(followers.totals) <= MOST_CONTEXTS
    assert max(len(counts) for counts in followers.after.values()) <= MOST_FOLLOWERS
    assert len(followers.lines) <= 1_000 and followers.all_lines == sum(followers.lines.values())

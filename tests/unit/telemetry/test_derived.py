"""What follows from other series: used = size - available, a sum of connections, a limit of what is used and free."""

import numpy as np
import pytest

from forewarn.telemetry import derived
from forewarn.telemetry.derived import Derivation
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.samples import Kind, SampleBatch, Series

SECOND = 10**9
NOON = 1_767_614_400 * SECOND


def batch(*rows: tuple[Series, int, float]) -> SampleBatch:
    """Samples (series, seconds after noon, value)."""
    series = tuple(dict.fromkeys(row[0] for row in rows))
    return SampleBatch(
        series,
        np.array([series.index(s) for s, _, _ in rows], np.int32),
        np.array([NOON + seconds * SECOND for _, seconds, _ in rows], np.int64),
        np.array([value for _, _, value in rows]),
    )


def added(before: SampleBatch, after: SampleBatch) -> list[tuple[str, int, float]]:
    """Name, second and value of the samples that were added."""
    n = len(before)
    assert (after.values[:n] == before.values).sum() == (~np.isnan(before.values)).sum()
    rows = zip(after.index[n:], after.times[n:], after.values[n:], strict=True)
    return [(after.series[i].name, int(t - NOON) // SECOND, float(v)) for i, t, v in rows]


def disk(signal: str, mount: str = "/", fstype: str = "ext4") -> Series:
    return Series("dc/node", f"node_filesystem_{signal}_bytes", (("fstype", fstype), ("mountpoint", mount)))


def test_used_is_size_less_available_at_each_time() -> None:
    told = batch(
        (disk("size"), 0, 100.0), (disk("avail"), 0, 70.0), (disk("size"), 15, 100.0), (disk("avail"), 15, 65.0)
    )
    extended = Derivation().extend(told)
    name = "node_filesystem_used_bytes{fstype=ext4,mountpoint=/}"
    assert added(told, extended) == [(name, 0, 30.0), (name, 15, 35.0)]
    used = {extended.series[i].signal: extended.series[j].signal for i, j in limit_pairs(extended.series).items()}
    assert used == {"node_filesystem_used_bytes": "node_filesystem_size_bytes"}


def test_size_and_available_may_come_in_different_messages() -> None:
    derivation, size, free = Derivation(), batch((disk("size"), 0, 100.0)), batch((disk("avail"), 15, 60.0))
    assert added(size, derivation.extend(size)) == []  # nothing follows from a size alone
    assert [row[1:] for row in added(free, derivation.extend(free))] == [(15, 40.0)]
    other = batch((disk("avail", "/data"), 20, 10.0))
    assert added(other, derivation.extend(other)) == []
    late = batch((disk("avail"), 4000, 50.0))
    assert added(late, derivation.extend(late)) == []  # a size of an hour ago may no longer hold


def test_a_term_that_ends_makes_its_result_stale_once() -> None:
    derivation = Derivation()
    derivation.extend(batch((disk("size"), 0, 100.0), (disk("avail"), 0, 70.0)))
    ended, size = batch((disk("avail"), 15, np.nan)), batch((disk("size"), 30, 100.0))
    assert np.isnan([row[2] for row in added(ended, derivation.extend(ended))]).tolist() == [True]
    assert added(size, derivation.extend(size)) == []


def test_what_nothing_follows_from_is_returned_as_it_is() -> None:
    plain = batch(
        (Series("dc/node", "node_load1"), 0, 1.0), (Series("a", "node_memory_MemTotal_bytes", (), Kind.DELTA), 0, 1.0)
    )
    image = batch((disk("size", "/snap", "squashfs"), 0, 5.0), (disk("avail", "/snap", "squashfs"), 0, 0.0))
    own = batch((disk("size"), 0, 5.0), (disk("avail"), 0, 1.0), (disk("used"), 0, 4.0))  # told already
    for one in (plain, image, own):
        assert Derivation().extend(one) is one


def test_the_same_series_give_the_same_tuple() -> None:
    derivation, first = Derivation(), batch((disk("size"), 0, 100.0), (disk("avail"), 0, 70.0))
    again = SampleBatch(first.series, first.index, first.times + SECOND, first.values)
    assert derivation.extend(first).series is derivation.extend(again).series


def test_connections_are_added_up_over_databases_and_states() -> None:
    def connections(database: str, state: str) -> Series:
        return Series("dc/pg", "pg_stat_activity_count", (("datname", database), ("instance", "a"), ("state", state)))

    told = batch(
        (connections("x", "active"), 0, 3.0), (connections("x", "idle"), 0, 4.0), (connections("y", "idle"), 0, 5.0)
    )
    derivation = Derivation()
    assert added(told, derivation.extend(told)) == [("pg_connections_used{instance=a}", 0, 12.0)]
    more = batch((connections("x", "active"), 15, 9.0), (connections("z", "idle"), 15, 1.0))
    assert added(more, derivation.extend(more)) == [("pg_connections_used{instance=a}", 15, 19.0)]
    maximum = Series("dc/pg", "pg_settings_max_connections", (("instance", "a"),))
    series = (*derivation.extend(told).series, maximum)
    assert [series[i].signal for i in limit_pairs(series)] == ["pg_connections_used"]


def test_a_collector_that_tells_used_and_free_tells_the_limit() -> None:
    def usage(state: str, mode: str = "rw") -> Series:
        return Series("dc/host", "system.filesystem.usage", (("mode", mode), ("mountpoint", "/"), ("state", state)))

    told = batch((usage("used"), 0, 30.0), (usage("free"), 0, 60.0), (usage("reserved"), 0, 10.0))
    extended = Derivation().extend(told)
    assert added(told, extended) == [("system.filesystem.usage.limit{mode=rw,mountpoint=/}", 0, 90.0)]
    limited = [extended.series[i].name for i in limit_pairs(extended.series)]
    assert limited == ["system.filesystem.usage{mode=rw,mountpoint=/,state=used}"]
    image = batch((usage("used", "ro"), 0, 30.0), (usage("free", "ro"), 0, 0.0))
    assert Derivation().extend(image) is image


def test_many_times_and_many_hosts_at_once() -> None:
    rng, hosts, times = np.random.default_rng(3), 20, 50
    series = tuple(
        Series(f"dc/{h}", f"node_memory_{name}_bytes") for h in range(hosts) for name in ("MemTotal", "MemAvailable")
    )
    values = rng.integers(0, 2**40, (times, 2 * hosts)).astype(float)
    index = np.tile(np.arange(2 * hosts, dtype=np.int32), times)
    order = rng.permutation(len(index))
    at = NOON + np.repeat(np.arange(times), 2 * hosts) * SECOND
    extended = Derivation().extend(SampleBatch(series, index[order], at[order], values.ravel()[order]))
    new = extended.index >= len(series)
    rows = zip(extended.index[new], extended.times[new], extended.values[new], strict=True)
    got = {(extended.series[i].entity, t): v for i, t, v in rows}
    expected = {
        (f"dc/{h}", NOON + t * SECOND): values[t, 2 * h] - values[t, 2 * h + 1]
        for h in range(hosts)
        for t in range(times)
    }
    assert got == expected


def test_more_terms_than_there_is_room_for_are_refused_and_old_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "_MOST_TERMS", 4)
    derivation = Derivation()

    def used(mount: str, seconds: int) -> list[float]:
        told = batch((disk("size", mount), seconds, 100.0), (disk("avail", mount), seconds, 70.0))
        return [row[2] for row in added(told, derivation.extend(told))]

    assert [used(mount, 0) for mount in ("/a", "/b")] == [[30.0], [30.0]]
    third = batch((disk("size", "/c"), 60, 100.0), (disk("avail", "/c"), 60, 90.0))
    assert added(third, derivation.extend(third)) == []
    assert derivation.refused == 2
    assert used("/b", 7000) == [30.0]
    later = SampleBatch(third.series, third.index, third.times + 7000 * SECOND, third.values)  # /a has ended
    assert [row[2] for row in added(later, derivation.extend(later))] == [10.0]
    assert [used(mount, 7061) for mount in ("/b", "/a")] == [[30.0], []]
    assert derivation.refused == 4
    for day in range(1, 6):  # disks come and go
        assert used(f"/{day}", 86_400 * day) == [30.0]
    assert derivation.refused == 4
    assert len(derivation._results) <= 2

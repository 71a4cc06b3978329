"""Which series tells the limit of which, by the names that OpenTelemetry and Prometheus exporters use."""

import pytest

from forewarn.risk.catalogue import failure_mode
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.samples import Series

HERE = (("instance", "10.0.0.1:9100"),)


def pairs(*rows: tuple[str, tuple[tuple[str, str], ...]]) -> dict[str, str]:
    """Names of the limited series and of what tells their limits."""
    series = [Series("dc/node", signal, attributes) for signal, attributes in rows]
    return {series[i].name: series[j].name for i, j in limit_pairs(series).items()}


@pytest.mark.parametrize(
    ("signal", "limit", "mode"),
    [
        ("system.filesystem.usage", "system.filesystem.usage.limit", "disk_full"),
        ("node_filesystem_used_bytes", "node_filesystem_size_bytes", "disk_full"),
        ("node_memory_used_bytes", "node_memory_MemTotal_bytes", "memory_exhaustion"),
        ("process_open_fds", "process_max_fds", "fd_exhaustion"),
        ("container_memory_working_set_bytes", "container_spec_memory_limit_bytes", "memory_exhaustion"),
        ("container_fs_usage_bytes", "container_fs_limit_bytes", "disk_full"),
        ("jvm_memory_used_bytes", "jvm_memory_max_bytes", "memory_exhaustion"),
        ("pg_connections_used", "pg_settings_max_connections", "connection_exhaustion"),
        ("node_nf_conntrack_entries", "node_nf_conntrack_entries_limit", "capacity"),
        ("kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes", "disk_full"),
    ],
)
def test_the_limit_of_a_signal_and_what_its_failure_is_called(signal: str, limit: str, mode: str) -> None:
    assert list(pairs((signal, HERE), (limit, HERE)).values()) == [Series("", limit, HERE).name]
    assert failure_mode(signal).mode == mode


def test_of_several_limits_the_one_that_says_most_about_the_series_holds() -> None:
    here, there = (("device", "a"), ("instance", "1")), (("device", "b"), ("instance", "1"))
    assert pairs(("x", here), ("x", there), ("x.limit", (("instance", "1"),)), ("x.limit", here)) == {
        "x{device=a,instance=1}": "x.limit{device=a,instance=1}",
        "x{device=b,instance=1}": "x.limit{instance=1}",
    }


def test_a_limit_with_attributes_that_a_series_does_not_have_is_not_its_limit() -> None:
    assert pairs(("x", (("device", "a"),)), ("x.limit", (("device", "b"),)), ("x.max", (("pool", "a"),))) == {}


def test_what_is_free_has_no_limit() -> None:
    used, free = (("state", "used"),), (("state", "free"),)
    found = pairs(("system.memory.usage", used), ("system.memory.usage", free), ("system.memory.limit", ()))
    assert found == {"system.memory.usage{state=used}": "system.memory.limit"}

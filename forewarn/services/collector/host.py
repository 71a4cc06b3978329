"""Reads this host: processor, memory, file systems, disks, network."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from forewarn.services.collector.readings import Instrument, Reading, limit_of


def read_host(home: Path) -> list[Reading]:
    """Everything that can be read; what this system does not tell is left out."""
    readings: list[Reading] = []
    for part in (_processor, _memory, lambda: _file_systems(home), _disks, _network):
        with contextlib.suppress(OSError, psutil.Error):
            readings += part()
    return readings


def _processor() -> Iterator[Reading]:
    yield Reading("system.cpu.utilization", psutil.cpu_percent(None) / 100, "1", Instrument.GAUGE)
    yield Reading("system.cpu.load_average.1m", psutil.getloadavg()[0], "{thread}", Instrument.GAUGE)
    yield Reading("system.processes.count", len(psutil.pids()), "{process}")


def _memory() -> Iterator[Reading]:
    memory = psutil.virtual_memory()
    usage = Reading("system.memory.usage", memory.total - memory.available, "By")
    yield from (usage, limit_of(usage, memory.total))
    swap = psutil.swap_memory()
    if swap.total:
        paging = Reading("system.paging.usage", swap.used, "By")
        yield from (paging, limit_of(paging, swap.total))


def _file_systems(home: Path) -> Iterator[Reading]:
    """Real file systems, each device once; `home` is always among them. The limit is what users may fill."""
    partitions = [(p.device, Path(p.mountpoint)) for p in psutil.disk_partitions(all=False)]
    devices: set[int] = set()
    for _, mount in [*sorted(partitions, key=lambda each: len(str(each[1]))), ("", _mount_of(home))]:
        if not mount.is_dir() or mount.stat().st_dev in devices:
            continue
        devices.add(mount.stat().st_dev)
        disk = psutil.disk_usage(str(mount))
        attributes = (("system.filesystem.mountpoint", str(mount)),)
        usage = Reading("system.filesystem.usage", disk.used, "By", attributes=attributes)
        yield from (usage, limit_of(usage, disk.used + disk.free))


def _mount_of(path: Path) -> Path:
    """The mount point of a path that need not exist yet."""
    path = path.absolute()
    while path != path.parent and not path.is_mount():
        path = path.parent
    return path


def _disks() -> Iterator[Reading]:
    counters = psutil.disk_io_counters()
    if counters is not None:
        for direction, value in (("read", counters.read_bytes), ("write", counters.write_bytes)):
            attributes = (("disk.io.direction", direction),)
            yield Reading("system.disk.io", value, "By", Instrument.COUNTER, attributes)


def _network() -> Iterator[Reading]:
    cards = [c for name, c in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")]
    sums = (("receive", sum(c.bytes_recv for c in cards)), ("transmit", sum(c.bytes_sent for c in cards)))
    for direction, value in sums:
        attributes = (("network.io.direction", direction),)
        yield Reading("system.network.io", value, "By", Instrument.COUNTER, attributes)

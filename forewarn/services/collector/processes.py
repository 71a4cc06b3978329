"""Reads the processes of the stack: each service with all that it started."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from forewarn.services.collector.readings import Instrument, Reading, limit_of


@dataclass(frozen=True, slots=True)
class _Seen:
    """One process. `key` also tells apart processes that were given the same number."""

    key: tuple[int, float]
    process: psutil.Process
    cpu_seconds: float
    private_bytes: int
    shared_bytes: int
    threads: int
    descriptors: int | None


class ProcessTrees:
    """Reads trees of processes; the share of the processors is of the time since the last reading."""

    def __init__(self) -> None:
        self._cpu_seconds: dict[tuple[int, float], float] = {}
        self._read_at = time.time()
        self._cores = psutil.cpu_count() or 1

    def read(self, roots: Mapping[str, int], memory_limits: Mapping[str, int]) -> dict[str, list[Reading]]:
        """Readings by name. A tree ends where that of another name begins; a process that is gone has no readings.

        roots: process id by name; memory_limits: bytes that a supervisor grants, by name.
        """
        children = _children()
        now = time.time()
        elapsed, last_read_at = max(now - self._read_at, 1e-3), self._read_at
        known, self._cpu_seconds, self._read_at = self._cpu_seconds, {}, now
        readings = {}
        for name, pid in roots.items():
            tree = list(_tree(pid, children, set(roots.values()) - {pid}))
            if not tree or tree[0].process.pid != pid:
                continue
            used = sum(_since(p, known, last_read_at) for p in tree)
            self._cpu_seconds |= {p.key: p.cpu_seconds for p in tree}
            readings[name] = [*_of_tree(tree, now, memory_limits.get(name))]
            readings[name].append(
                Reading("process.cpu.utilization", used / elapsed / self._cores, "1", Instrument.GAUGE)
            )
        return readings


def _of_tree(tree: list[_Seen], now: float, granted: int | None) -> Iterator[Reading]:
    # Pages that processes share (PostgreSQL's buffers, libraries) count once: the sum of the resident sets would
    # count them in each process.
    memory = sum(p.private_bytes for p in tree) + max(p.shared_bytes for p in tree)
    usage = Reading("process.memory.usage", memory, "By")
    yield usage
    limit = min((x for x in (granted, _cgroup_limit(tree[0].process.pid)) if x), default=None)
    if limit is not None:
        yield limit_of(usage, limit)
    yield from _descriptors(tree)
    yield Reading("process.thread.count", sum(p.threads for p in tree), "{thread}")
    yield Reading("process.uptime", now - tree[0].key[1], "s", Instrument.GAUGE)


def _descriptors(tree: list[_Seen]) -> Iterator[Reading]:
    """Of the process that is nearest to its limit, for the limit is each process's own."""
    counted = [(p.descriptors, _open_files_limit(p.process)) for p in tree if p.descriptors is not None]
    if counted:
        count, limit = max(counted, key=lambda each: each[0] / (each[1] or float("inf")))
        reading = Reading("process.unix.file_descriptor.count", count, "{file_descriptor}")
        yield reading
        if limit is not None:
            yield limit_of(reading, limit)


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    return children


def _tree(pid: int, children: Mapping[int, list[int]], others: set[int]) -> Iterator[_Seen]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield _seen(psutil.Process(pid))
    for child in children.get(pid, ()):
        if child not in others:
            yield from _tree(child, children, others)


def _seen(process: psutil.Process) -> _Seen:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        shared = min(getattr(memory, "shared", 0), memory.rss)
        return _Seen(
            key=(process.pid, process.create_time()),
            process=process,
            cpu_seconds=times.user + times.system,
            private_bytes=memory.rss - shared,
            shared_bytes=shared,
            threads=process.num_threads(),
            descriptors=_count_descriptors(process),
        )


def _count_descriptors(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except psutil.AccessDenied:  # another user's, as PostgreSQL's may be
        return None


def _since(process: _Seen, known: Mapping[tuple[int, float], float], last_read_at: float) -> float:
    """Processor seconds since the last reading; all of them for a process that began after it."""
    if process.key in known:
        return max(process.cpu_seconds - known[process.key], 0.0)
    return process.cpu_seconds if process.key[1] >= last_read_at else 0.0


def _open_files_limit(process: psutil.Process) -> int | None:
    if not hasattr(process, "rlimit"):
        return None
    with contextlib.suppress(psutil.Error, OSError):
        soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
        return soft if soft != psutil.RLIM_INFINITY else None
    return None


def _cgroup_limit(pid: int) -> int | None:
    """Bytes that the memory cgroup of a process allows, None without a limit that is smaller than the memory.

    Versions 2 and 1; inside a container the process's own path may not be visible, its root is then the container's.
    """
    root = Path("/sys/fs/cgroup")
    candidates = [root / "memory.max", root / "memory/memory.limit_in_bytes"]
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                candidates.insert(0, root / path.lstrip("/") / "memory.max")
            elif "memory" in controllers.split(","):
                candidates.insert(0, root / "memory" / path.lstrip("/") / "memory.limit_in_bytes")
    limits = [limit for limit in map(_number_in, candidates) if limit is not None]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((limit for limit in limits if limit < total), default=None)


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # 'max', or no such cgroup
        return None

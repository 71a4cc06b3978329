"""What each process of a stack holds, minute by minute: memory, open files, threads, lag, disk."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from forewarn.config.running import client_settings, running
from forewarn.services.overview import overview


@dataclass
class Curves:
    """Columns over time: `minutes` since the start, and for each name one value a minute (NaN where it was away)."""

    minutes: list[float] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)

    def add(self, minutes: float, row: dict[str, float]) -> None:
        """Append one row; names that come late or go are NaN elsewhere."""
        for name in row.keys() - self.columns.keys():
            self.columns[name] = [float("nan")] * len(self.minutes)
        self.minutes.append(minutes)
        for name, values in self.columns.items():
            values.append(row.get(name, float("nan")))


def watch(home: Path, curves: Curves, started: float) -> None:
    """Add what the stack of this home holds now; `started`: Unix seconds of the beginning."""
    stack = running(home)
    if stack is None:
        return
    row: dict[str, float] = {}
    for service in stack.services:
        if service.pid and service.phase == "ready":
            row.update({f"{service.name} {what}": value for what, value in _held(service.pid)})
        curves.restarts[service.name] = service.restarts
    found = overview(client_settings(home), stack)
    row |= {f"lag {group}": float(messages) for group, messages in found.groups.items()}
    row |= {"incidents": float(sum(found.incidents.values())), "mails": float(sum(found.messages.values()))}
    row["disk without archive MiB"] = _disk(home) / 2**20
    curves.add((time.time() - started) / 60, row)


def _held(pid: int) -> Iterator[tuple[str, float]]:
    """Unique memory (MiB), open files and threads of a process and its descendants; nothing where it has ended."""
    memory = files = threads = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory += process.memory_full_info().uss
                files += process.num_fds()
                threads += process.num_threads()
    if memory:
        yield from (("MiB", memory / 2**20), ("files", float(files)), ("threads", float(threads)))


def _disk(home: Path) -> int:
    """Bytes of the home without PostgreSQL's folder, which holds the archive and grows by what is kept."""
    total = 0
    for path in home.rglob("*"):
        if "postgres" in path.relative_to(home).parts[0]:
            continue
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512 if path.is_file() else 0
    return total

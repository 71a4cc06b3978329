"""Finds and ends every process of a stack, however far from its supervisor it has moved.

Children inherit the stack's id in their environment: sessions, process groups and adoption by init do not hide them.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable

import psutil

STACK_VARIABLE = "FOREWARN_STACK_ID"
SERVICE_VARIABLE = "FOREWARN_STACK_SERVICE"


def members(stack_id: str, service: str | None = None) -> list[psutil.Process]:
    """Processes that carry the stack's id (and the service's name), without the one that asks and its ancestors."""
    found = []
    spared = {os.getpid(), os.getppid()}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(STACK_VARIABLE) != stack_id:
                continue
            if service is None or environment.get(SERVICE_VARIABLE) == service:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], patience_seconds: float, first: signal.Signals = signal.SIGTERM) -> int:
    """Ask them to end, wait, then kill the rest; how many had to be killed."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            process.send_signal(first)
    _, alive = psutil.wait_procs(asked, timeout=patience_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=2)
    return len(alive)


def end_all(stack_id: str, pids: dict[int, float], patience_seconds: float) -> int:
    """End all of a stack: registered processes (id → creation time) and whoever carries its id; how many there were.

    Repeated until nobody is left, for a process may start another while it is asked to end.
    """
    ended = 0
    deadline = time.monotonic() + patience_seconds + 10
    while time.monotonic() < deadline:
        alive = {p.pid: p for p in members(stack_id)} | {p.pid: p for p in _registered(pids)}
        if not alive:
            break
        end(alive.values(), patience_seconds)
        ended += len(alive)
        patience_seconds = 0.5
    return ended


def _registered(pids: dict[int, float]) -> Iterable[psutil.Process]:
    for pid, created_at in pids.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created_at) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                yield process
                yield from process.children(recursive=True)

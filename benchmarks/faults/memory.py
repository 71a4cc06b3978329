"""No memory to be had: for a process, and for the broker, which keeps all there is in memory."""

import contextlib
import time
from collections.abc import Callable

import numpy as np
import psutil

from benchmarks.faults.scene import NotRecovered, Report, Scene
from forewarn.stores.log import producer
from forewarn.telemetry import topics

BROKER_BYTES = 512 * 2**20  # what the broker of the fault suite may hold
_FLOOD_SECONDS = 60.0
_ROOM = 4096  # bytes of address space that are left


def squeezed(service: str) -> Callable[[Scene, Report], None]:
    """It gets no more address space than it has: what it asks for beyond is refused."""

    def act(scene: Scene, report: Report) -> None:
        before = scene.stack.service(service)
        limited = scene.stack.processes(service)
        for process in limited:
            with contextlib.suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + _ROOM, psutil.RLIM_INFINITY))
        scene.hold(1 / 5)
        for process in limited:
            with contextlib.suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_AS, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        report.ended = time.monotonic()
        again = scene.stack.service(service).restarts - before.restarts
        report.told = f"no more memory for {scene.hold_seconds / 3:g} s" + (
            f", started again {again} times" if again else ""
        )

    return act


def broker_full(scene: Scene, report: Report) -> None:
    """More is put on the log than the broker may hold: it is started anew with an empty log."""
    before = scene.stack.service("broker").restarts
    to = producer(scene.stack.settings.kafka_bootstrap, 0)
    rng, until = np.random.default_rng(3), time.monotonic() + _FLOOD_SECONDS
    while scene.stack.service("broker").restarts == before:
        with contextlib.suppress(BufferError):
            to.produce(topics.DEAD_LETTERS, rng.bytes(900_000), "flood")
        to.poll(0.005)
        if time.monotonic() > until:
            raise NotRecovered(f"the broker took all of it for {_FLOOD_SECONDS:.0f} s and was not started anew")
    to.purge()
    to.flush(5)
    report.ended = time.monotonic()
    report.told = f"limit of {BROKER_BYTES / 2**20:.0f} MiB"

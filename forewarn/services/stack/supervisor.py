"""Runs a table of services: starts them as their needs become ready, keeps them up, stops them in reverse order."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psutil

from forewarn.services.stack import leftovers
from forewarn.services.stack.child import Child, StartError, Surroundings
from forewarn.services.stack.definition import Service

_HEARTBEAT_SECONDS = 2.0


class Reaper:
    """The process that ends the stack's services should this one be killed."""

    def __init__(self, stack_id: str, patience_seconds: float) -> None:
        self._arguments = (stack_id, str(patience_seconds))
        self._known: list[psutil.Process] = []
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "forewarn.services.stack.reaper", *self._arguments],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def register(self, process: psutil.Process) -> None:
        """Make a process known, so that it is found even without the stack's id in its environment."""
        self._known = [p for p in self._known if p.is_running()] + [process]
        self._send({"pid": process.pid, "created_at": process.create_time()})

    def ensure(self) -> None:
        """Start another where somebody has ended it."""
        if self._process.poll() is not None:
            self._process = self._start()
            for process in self._known:
                with contextlib.suppress(psutil.Error):
                    self._send({"pid": process.pid, "created_at": process.create_time()})

    def dismiss(self) -> None:
        """All is stopped: nothing is left to do for it."""
        self._send({"done": True})
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def _send(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


class Supervisor:
    """Owns the services of one stack from start to stop."""

    def __init__(self, services: Sequence[Service], around: Surroundings, reaper: Reaper) -> None:
        self._reaper = reaper
        self.children = {s.name: Child(s, replace(around, register=reaper.register)) for s in services}
        self._around = around
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, when_ready: Callable[[], None]) -> None:
        """Start all, call `when_ready`, keep them up until a signal, stop all. Raises StartError."""
        self._listen()
        try:
            if await self._start_all():
                when_ready()
                await self._keep_all()
        finally:
            await self._stop_all()

    def ask_to_stop(self) -> None:
        """What a signal does: stop in order; the second time, at once."""
        if self._asked_to_stop.is_set():
            self._hurry.set()
        self._asked_to_stop.set()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(each, self.ask_to_stop)

    async def _start_all(self) -> bool:
        """False where a signal came first."""
        starts = [asyncio.ensure_future(self._start_one(child)) for child in self.children.values()]
        stop = asyncio.ensure_future(self._asked_to_stop.wait())
        pending: set[asyncio.Future[Any]] = {*starts, stop}
        try:
            while stop in pending and len(pending) > 1:
                done, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
                for each in done - {stop}:
                    each.result()
            return not stop.done()
        finally:
            for each in pending:
                each.cancel()
            await asyncio.gather(*starts, stop, return_exceptions=True)

    async def _start_one(self, child: Child) -> None:
        await self._needs(child.service)
        try:
            await child.start()
        except StartError as failed:
            child.tell(phase="failed", detail=failed.reason)
            raise

    async def _needs(self, service: Service) -> None:
        needed = [self.children[n] for n in service.depends_on if n in self.children]
        while not all(child.ready.is_set() for child in needed):
            for child in needed:
                await child.ready.wait()

    def _lost(self, name: str) -> None:
        """A service is down: whoever cannot go on with its next life starts anew, too."""
        for child in self.children.values():
            if name in child.service.restart_with:
                child.renew()

    async def _make_way(self, name: str) -> None:
        """A service will be ended: who cannot go on with its next life ends first, in order, while it still runs."""
        concerned = [c for c in self.children.values() if name in c.service.restart_with]
        for child in concerned:
            child.ready.clear()  # nobody starts again before the next life is there
        await asyncio.gather(*(self._renew_in_order(child, concerned) for child in concerned))

    async def _renew_in_order(self, child: Child, concerned: Sequence[Child]) -> None:
        for other in concerned:
            if _stops_before(other, child):
                await other.down.wait()
        child.renew()
        await child.down.wait()

    async def _keep_all(self) -> None:
        keepers = [
            asyncio.ensure_future(c.keep(self._needs, self._lost, self._make_way)) for c in self.children.values()
        ]
        heartbeat = asyncio.ensure_future(self._watch_reaper())
        stop = asyncio.ensure_future(self._asked_to_stop.wait())
        try:
            done, _ = await asyncio.wait({*keepers, heartbeat, stop}, return_when="FIRST_COMPLETED")
            for each in done - {stop}:
                each.result()  # a keeper ends by a fault of ours only: let it be seen
        finally:
            for each in (*keepers, heartbeat, stop):
                each.cancel()
            await asyncio.gather(*keepers, heartbeat, stop, return_exceptions=True)

    async def _watch_reaper(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            self._reaper.ensure()

    async def _stop_all(self) -> None:
        orderly = asyncio.ensure_future(self._stop_in_order())
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({orderly, hurry}, return_when="FIRST_COMPLETED")
        hurry.cancel()
        if not orderly.done():
            self._around.notice("asked twice: killing what still runs")
            await asyncio.to_thread(leftovers.end_all, self._around.stack_id, self._pids(), 0.2)
        await orderly
        await asyncio.to_thread(leftovers.end_all, self._around.stack_id, {}, 2.0)

    async def _stop_in_order(self) -> None:
        await asyncio.gather(*(self._stop_after_dependents(child) for child in self.children.values()))

    async def _stop_after_dependents(self, child: Child) -> None:
        for other in self.children.values():
            if _stops_before(other, child):
                await other.stopped.wait()
        await child.stop()

    def _pids(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for child in self.children.values():
            with contextlib.suppress(psutil.Error):
                if child.state.pid:
                    found[child.state.pid] = psutil.Process(child.state.pid).create_time()
        return found


def _stops_before(one: Child, other: Child) -> bool:
    return other.service.name in one.service.depends_on or one.service.name in other.service.stops_after

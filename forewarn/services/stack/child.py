"""One service as a process: started, waited for, restarted with backoff, stopped with all its descendants."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from forewarn.config.running import ServiceState
from forewarn.services.stack import launch, leftovers
from forewarn.services.stack.definition import Exits, Service
from forewarn.services.stack.probes import LogSlice, wait_until_ready

_LOG_LIMIT_BYTES = 50 * 2**20
_BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_MAKE_WAY_SECONDS = 90.0
_STABLE_SECONDS = 60.0  # up for so long, a service counts as healthy again and its backoff starts anew


WaitForNeeds = Callable[[Service], Awaitable[None]]
MakeWay = Callable[[str], Awaitable[None]]


class StartError(Exception):
    """A service did not become ready: what happened, its last words, and what to do."""

    def __init__(self, service: Service, reason: str, log: LogSlice) -> None:
        super().__init__(f"{service.title} {reason}")
        self.service, self.reason, self.log = service, reason, log
        self.last_lines = log.last_lines(15)


@dataclass(frozen=True)
class Surroundings:
    """What all services share."""

    stack_id: str
    host: str
    logs: Path
    folder: Path
    environment: dict[str, str]
    values: dict[str, object]
    register: Callable[[psutil.Process], None]
    changed: Callable[[ServiceState], None]
    notice: Callable[[str], None]


class Child:
    """The life of one service. `ready` is set while others may rely on it, `down` while nothing of it runs."""

    def __init__(self, service: Service, around: Surroundings) -> None:
        self.service, self.around = service, around
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self.down = asyncio.Event()
        self.state = ServiceState(
            service.name,
            service.title,
            "waiting",
            address=service.address,
            log=str(around.logs / f"{service.name}.log"),
        )
        self._process: asyncio.subprocess.Process | None = None
        self._renew = asyncio.Event()

    def tell(self, **changes: object) -> None:
        """Change the state that people see."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        self.around.changed(self.state)

    async def start(self) -> None:
        """Start once and return when it is ready. Raises StartError."""
        log = self._open_log()
        began = time.monotonic()
        self._renew.clear()
        self.down.clear()
        self.tell(phase="starting", started_at=time.time(), detail="")
        self._process = await self._spawn(log)
        self.tell(pid=self._process.pid)
        await self._until_ready(log)
        once = isinstance(self.service.ready, Exits)
        pid = None if once else self._process.pid
        seconds = round(time.monotonic() - began, 2)
        self.tell(phase="done" if once else "ready", pid=pid, ready_seconds=seconds, detail="")
        self.ready.set()

    async def _until_ready(self, log: LogSlice) -> None:
        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        probe = asyncio.ensure_future(wait_until_ready(self.service, self.around.host, log))
        try:
            await asyncio.wait(
                {ended, probe}, timeout=self.service.start_timeout_seconds, return_when="FIRST_COMPLETED"
            )
        finally:
            probe.cancel()
            ended.cancel()
        if ended.done() and not ended.cancelled():
            if isinstance(self.service.ready, Exits) and ended.result() == 0:
                return
            raise StartError(self.service, f"ended {_how(ended.result())} while it started", log)
        if not probe.done() or probe.cancelled():
            raise StartError(self.service, f"was not ready after {self.service.start_timeout_seconds:.0f} s", log)
        probe.result()

    async def keep(self, wait_for_needs: WaitForNeeds, lost: Callable[[str], None], make_way: MakeWay) -> None:
        """Watch a started service and start it again whenever it ends; returns only when cancelled.

        make_way: awaited before it is ended because it holds too much memory.
        """
        failures = 0
        while True:
            up_since = time.monotonic()
            reason = await self._until_down(make_way)
            self.ready.clear()
            self.down.set()
            failures = 0 if time.monotonic() - up_since > _STABLE_SECONDS else failures
            pause = 0.0 if self._renew.is_set() else _pause(failures)
            failures += not self._renew.is_set()
            lost(self.service.name)
            await self._restart(reason, pause, wait_for_needs)

    async def _restart(self, reason: str, pause: float, wait_for_needs: WaitForNeeds) -> None:
        for attempt in itertools.count():
            self.tell(phase="restarting", pid=None, restarts=self.state.restarts + 1, detail=reason)
            when = f" in {pause:g} s" if pause else ""
            loss = f"; {self.service.loss}" if self.service.loss else ""
            self.around.notice(f"{self.service.title} {reason}: restarting{when}{loss}")
            await asyncio.to_thread(self._end_descendants)
            await asyncio.sleep(pause)
            await wait_for_needs(self.service)
            try:
                await self.start()
            except StartError as failed:
                reason = failed.reason
                pause = _pause(attempt)
                await self._end_process()
                self.down.set()
                continue
            self.around.notice(f"{self.service.title} is ready again")
            return

    async def _until_down(self, make_way: MakeWay) -> str:
        """Wait until the process ends, is asked to start anew, or holds too much memory; the reason."""
        assert self._process is not None
        watched: list[asyncio.Future[bool]] = [asyncio.ensure_future(self._renewed())]
        if not isinstance(self.service.ready, Exits):
            watched.append(asyncio.ensure_future(self._ended()))
        if self.service.memory_limit_bytes:
            watched.append(asyncio.ensure_future(self._too_large(self.service.memory_limit_bytes)))
        try:
            await asyncio.wait(watched, return_when="FIRST_COMPLETED")
        finally:
            for each in watched:
                each.cancel()
        if self._process.returncode is not None and not self._renew.is_set():
            return f"ended {_how(self._process.returncode)}"
        if self._renew.is_set():
            await self._end_process()
            return "starts anew with what it depends on"
        self.ready.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAKE_WAY_SECONDS):
                await make_way(self.service.name)
        await self._end_process()
        return f"held more than {(self.service.memory_limit_bytes or 0) / 2**20:.0f} MiB"

    async def _renewed(self) -> bool:
        return bool(await self._renew.wait())

    async def _ended(self) -> bool:
        assert self._process is not None
        await self._process.wait()
        return True

    async def _too_large(self, limit: int) -> bool:
        assert self._process is not None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            while process.memory_info().rss < limit:
                await asyncio.sleep(2)
            return True
        return await self._ended()  # it is gone: its end is what counts

    def renew(self) -> None:
        """Start anew, for something that this service builds on has started anew."""
        self.ready.clear()
        self._renew.set()

    async def stop(self) -> None:
        """End the process and whatever it started; returns when all of it is gone."""
        final = {"waiting", "skipped", "done", "failed"}
        if self.state.phase not in final:
            self.tell(phase="stopping")
        await self._end_process()
        self.ready.clear()
        if self.state.phase not in final:
            self.tell(phase="stopped", pid=None)
        self.stopped.set()
        self.down.set()

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.service.stop_signal)
            try:
                # not `wait_for`: until Python 3.12 it takes a cancellation that comes with the end for the end alone
                async with asyncio.timeout(self.service.stop_timeout_seconds):
                    await process.wait()
            except TimeoutError:
                self.around.notice(
                    f"{self.service.title} did not stop within {self.service.stop_timeout_seconds:.0f} s: killed"
                )
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        await asyncio.to_thread(self._end_descendants)

    def _end_descendants(self) -> None:
        patience = min(3.0, self.service.stop_timeout_seconds)
        leftovers.end(leftovers.members(self.around.stack_id, self.service.name), patience)

    async def _spawn(self, log: LogSlice) -> asyncio.subprocess.Process:
        command = [part.format_map(self.around.values) for part in self.service.command]
        environment = {
            **self.around.environment,
            **{key: text.format_map(self.around.values) for key, text in self.service.environment.items()},
            leftovers.STACK_VARIABLE: self.around.stack_id,
            leftovers.SERVICE_VARIABLE: self.service.name,
        }
        with log.path.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", launch.__file__, str(os.getpid()), *command),
                cwd=self.around.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        with contextlib.suppress(psutil.Error):
            self.around.register(psutil.Process(process.pid))
        return process

    def _open_log(self) -> LogSlice:
        """The log's end, where this start's part will begin; an old large log is set aside first."""
        path = Path(self.state.log)
        size = path.stat().st_size if path.exists() else 0
        if size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.old"))
            size = 0
        return LogSlice(path, size)


def _pause(failures: int) -> float:
    return _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]


def _how(status: int) -> str:
    if status < 0:
        return f"by signal {signal.Signals(-status).name}"
    return f"with status {status}"

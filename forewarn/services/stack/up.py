"""Runs a planned stack on its home: lock, leftovers of an earlier one, state file, supervisor."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

import forewarn
from forewarn.config.doors import reachable
from forewarn.config.running import ServiceState, StackState
from forewarn.services.stack import leftovers
from forewarn.services.stack.child import Surroundings
from forewarn.services.stack.definition import Service
from forewarn.services.stack.environment import settings_environment
from forewarn.services.stack.plan import Plan
from forewarn.services.stack.state import HomeLock, read_state, remove_state, running, write_state
from forewarn.services.stack.supervisor import Reaper, Supervisor


class AlreadyRunningError(Exception):
    """A stack runs on this home; `state` tells which, as far as it can be read."""

    def __init__(self, home: Path, state: StackState | None) -> None:
        super().__init__(f"a stack runs on {home} already" + (f" (pid {state.pid})" if state else ""))
        self.state = state


class Stack:
    """Holds the home's lock and the state that people and the state file see."""

    def __init__(
        self, home: Path, on_change: Callable[[StackState], None], on_notice: Callable[[str], None],
        patience_seconds: float = 8.0,
    ) -> None:  # fmt: skip
        self.home = home.resolve()
        self._on_change, self._on_notice = on_change, on_notice
        self._patience_seconds = patience_seconds  # for leftovers, before they are killed
        self._lock = HomeLock(self.home)
        me = psutil.Process()
        self.state = StackState(
            me.pid, me.create_time(), uuid.uuid4().hex, str(self.home), "starting", time.time(), forewarn.__version__
        )

    def take_home(self) -> None:
        """Lock the home and end what a killed stack left there. Raises AlreadyRunningError."""
        self.home.mkdir(parents=True, exist_ok=True)
        for folder in ("logs", "mail", "bentoml", "dagster"):
            (self.home / folder).mkdir(exist_ok=True)
        if not self._lock.acquire():
            raise AlreadyRunningError(self.home, running(self.home))
        earlier = read_state(self.home)
        if earlier is not None:
            count = leftovers.end_all(earlier.stack_id, {}, self._patience_seconds)
            if count:
                self.notice(f"the stack that ran here before (pid {earlier.pid}) was killed: ended {count} leftovers")

    def run(self, plan: Plan) -> None:
        """Run the plan until a signal. Raises StartError."""
        waiting = tuple(ServiceState(s.name, s.title, "waiting", address=s.address) for s in plan.services)
        skipped = tuple(ServiceState(s.name, s.title, "skipped", detail=_why_skipped(s, plan)) for s in plan.skipped)
        environment = settings_environment(plan.settings, plan.settings.model_fields_set)
        self._set(environment=environment, services=waiting + skipped)
        for notice in plan.notices:
            self.notice(notice)
        reaper = Reaper(self.state.stack_id, self._patience_seconds)
        around = Surroundings(
            stack_id=self.state.stack_id, host=reachable(plan.settings.bind_host), logs=self.home / "logs",
            folder=plan.folder, environment=dict(plan.environment), values=dict(plan.values),
            register=reaper.register, changed=self._service_changed, notice=self.notice,
        )  # fmt: skip
        try:
            asyncio.run(self._supervise(plan, around, reaper))
            self.close()
        except BaseException as error:
            self._set(phase="failed", error=str(error))
            raise
        finally:
            reaper.dismiss()
            self._lock.release()

    async def _supervise(self, plan: Plan, around: Surroundings, reaper: Reaper) -> None:
        await Supervisor(plan.services, around, reaper).run(lambda: self._set(phase="ready"))

    def close(self) -> None:
        """Nothing runs any more."""
        self._set(phase="stopped")
        remove_state(self.home)

    def notice(self, text: str) -> None:
        """Something that people should know."""
        self._on_notice(text)
        self._set(notices=(*self.state.notices, text)[-50:])

    def _service_changed(self, changed: ServiceState) -> None:
        services = tuple(changed if s.name == changed.name else s for s in self.state.services)
        stopping = changed.phase in {"stopping", "stopped"}
        self._set(services=services, phase="stopping" if stopping else self.state.phase)

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        with contextlib.suppress(FileNotFoundError):  # somebody removed the home: stop in order all the same
            write_state(self.state)
        self._on_change(self.state)


def _why_skipped(service: Service, plan: Plan) -> str:
    absent = {s.name for s in plan.skipped} & set(service.depends_on)
    return f"needs {', '.join(sorted(absent))}" if absent else f"module {service.module} is not installed"

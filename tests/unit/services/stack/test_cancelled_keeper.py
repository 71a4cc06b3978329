"""A stop that comes in the very moment in which a service ends on its way to a new life ends its keeper as well."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from forewarn.services.stack.child import Child, Surroundings
from forewarn.services.stack.definition import Alive, Service


class Process:
    """Runs until it gets a signal and `ended` is set; its end is seen one turn of the loop after it."""

    pid = 2**22 + 1  # nobody's

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.asked = asyncio.Event()
        self.returncode: int | None = None

    def send_signal(self, _: int) -> None:
        self.asked.set()

    async def wait(self) -> int:
        await self.ended.wait()
        self.returncode = 0
        return 0


@pytest.mark.parametrize("turns", range(6))
def test_a_keeper_ends_however_near_the_end_of_its_service_it_is_cancelled(
    turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        processes: list[Process] = []

        async def spawn(*_: Any, **__: Any) -> Process:
            processes.append(Process())
            return processes[-1]

        monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
        service = Service("fake", "Fake", ("true",), Alive(0.0))
        child = Child(service, _around(tmp_path))
        await child.start()
        keeper = asyncio.ensure_future(child.keep(_nothing, lambda _: None, _nothing))
        await asyncio.sleep(0)
        child.renew()
        await asyncio.wait_for(processes[0].asked.wait(), 5)
        processes[0].ended.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        keeper.cancel()
        done, _ = await asyncio.wait({keeper}, timeout=2)
        assert done, "it lives on"
        assert keeper.cancelled()

    asyncio.run(run())


async def _nothing(_: object) -> None:
    return None


def _around(folder: Path) -> Surroundings:
    return Surroundings(
        stack_id="none", host="127.0.0.1", logs=folder, folder=folder, environment={}, values={},
        register=lambda _: None, changed=lambda _: None, notice=lambda _: None,
    )  # fmt: skip

"""kill -9 of one process; the supervisor starts it again."""

import time
from collections.abc import Callable

from benchmarks.faults.scene import NotRecovered, Report, Scene

PROCESSES = (
    "gateway", "archiver", "connector", "predictor", "alerter", "mailbox", "collector", "dashboard", "dagster-code",
    "dagster-webserver", "dagster-daemon", "postgres",
)  # fmt: skip
_NOTICE_SECONDS = 15.0


def kill(service: str) -> Callable[[Scene, Report], None]:
    """The fault of this service."""

    def act(scene: Scene, report: Report) -> None:
        before = scene.stack.service(service)
        report.ended = time.monotonic()
        scene.stack.kill(service)
        deadline = time.monotonic() + _NOTICE_SECONDS
        while scene.stack.service(service).restarts == before.restarts:
            if time.monotonic() > deadline:
                raise NotRecovered(f"nobody noticed within {_NOTICE_SECONDS:.0f} s that it was killed")
            time.sleep(0.02)

    return act

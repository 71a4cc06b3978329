"""Runs a command without a shell: bounded time, bounded output, an environment of its own."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from forewarn.alerting.responses.plan import Plan, resolved
from forewarn.services.alerter.responding.ended import Ended, Kept

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


def run(plan: Plan, secrets: Mapping[str, str], stop: threading.Event) -> Ended:
    """Run it to its end, to its timeout, or until `stop`: then it is told to end, and how far it came is unknown."""
    environment = {"PATH": PATH, "LANG": "C.UTF-8"}
    environment |= {name: resolved(value, secrets) for name, value in plan["env"].items()}
    try:
        process = subprocess.Popen(  # argv comes of the operator's file, values are checked
            plan["argv"], env=environment, cwd=plan["cwd"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, close_fds=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return Ended("failed", f"it could not be started: {error}")
    kept = Kept()
    reader = threading.Thread(target=_read, args=(process, kept), daemon=True)
    reader.start()
    why = _wait(process, plan["timeout_seconds"], stop)
    if why:
        _end(process)
    reader.join(1.0)  # what it left behind may hold the pipe for ever
    output = kept.text(secrets.values())
    if why == "stop":
        return Ended("unknown", "the alerter was stopped while it ran, and ended it", output)
    if why:
        return Ended("failed", f"it took longer than {plan['timeout_seconds']:g} s and was ended", output)
    return _verdict(process.returncode, output)


def _verdict(code: int, output: str) -> Ended:
    if code == 0:
        return Ended("succeeded", "exit status 0", output)
    if code < 0:
        return Ended("failed", f"it was ended by {signal.Signals(-code).name}", output)
    return Ended("failed", f"exit status {code}", output)


def _wait(process: subprocess.Popen[bytes], seconds: float, stop: threading.Event) -> str:
    """'' when it has ended, 'timeout' or 'stop' where it has not."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if stop.is_set():
            return "stop"
        if time.monotonic() > deadline:
            return "timeout"
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
    return ""


def _read(process: subprocess.Popen[bytes], kept: Kept) -> None:
    assert process.stdout is not None
    with suppress(OSError, ValueError), process.stdout as output:
        while piece := os.read(output.fileno(), 65_536):
            kept.add(piece)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tell the whole session to end; kill what does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):  # also where it ends at once: its children may not
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)

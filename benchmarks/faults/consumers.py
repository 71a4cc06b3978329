"""Consumers that are slow, come and go in the middle of a batch, or wake up after others took their place."""

import contextlib
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.faults.scene import NotRecovered, Report, Scene
from benchmarks.streaming.broker import free_port

_AWAKE_SECONDS, _ASLEEP_SECONDS = 0.1, 0.9
_JOIN_SECONDS = 120.0


def slow(service: str) -> Callable[[Scene, Report], None]:
    """It runs for a tenth of the time only."""

    def act(scene: Scene, report: Report) -> None:
        until = time.monotonic() + scene.hold_seconds / 2
        while time.monotonic() < until:
            with scene.stack.suspended(service):
                time.sleep(_ASLEEP_SECONDS)
            time.sleep(_AWAKE_SECONDS)
        report.ended = time.monotonic()
        report.told = f"ran a tenth of the time for {scene.hold_seconds / 2:g} s"

    return act


def second_archiver(scene: Scene, report: Report) -> None:
    """A second archiver joins; the first falls asleep with a batch and its partitions go over; it wakes up and believes
    to own them still; the second is killed in the middle of a batch."""
    log = scene.stack.home / "logs" / "beside-archiver.log"
    with scene.stack.beside("forewarn.services.archiver", metrics_port=0) as second:
        _await(lambda: _said(log, "partitions assigned") >= 1, "the second archiver joined")
        with scene.stack.suspended("archiver"):
            _await(lambda: _said(log, "partitions assigned") >= 2, "the second archiver took all partitions", 40)
            time.sleep(scene.hold_seconds / 6)
        time.sleep(scene.hold_seconds / 6)
        report.ended = time.monotonic()
        second.kill()
    report.told = "joined, took all partitions while the first slept, was killed"


def second_predictor(scene: Scene, report: Report) -> None:
    """A second predictor joins under load, leaves in order, joins again and is killed."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        port = free_port()
        with scene.stack.beside("bentos.predictor", predictor_port=port, predictor_grpc_port=0) as second:
            _await(lambda port=port, second=second: _ready(port, second), "the second predictor joined")  # type: ignore[misc]
            time.sleep(scene.hold_seconds / 6)
            report.ended = time.monotonic()
            _end(second, end)
    report.told = "joined, left in order, joined, was killed"


def second_alerter(scene: Scene, report: Report) -> None:
    """A second alerter stands by; the active one falls asleep with its connections open, then is killed."""
    log = scene.stack.home / "logs" / "beside-alerter.log"
    with scene.stack.beside("forewarn.services.alerter", metrics_port=0):
        _await(lambda: _said(log, "stands by") > 0, "the second alerter stands by")
        scene.stack.kill("alerter")
        _await(lambda: _said(log, "is active") > 0, "the second alerter took the lead", 60)
        time.sleep(scene.hold_seconds / 6)
        report.ended = time.monotonic()
    report.told = "stood by, took over from the one that was killed, was killed"


def _end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if how == signal.SIGKILL else []
    for one in [process, *children]:
        with contextlib.suppress(psutil.Error):
            one.send_signal(how)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(40)


def _ready(port: int, process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        raise NotRecovered(f"the second predictor ended with status {process.returncode}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _said(log: Path, text: str) -> int:
    return log.read_text(errors="replace").count(text) if log.exists() else 0


def _await(done: Callable[[], bool], what: str, seconds: float = _JOIN_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise NotRecovered(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)

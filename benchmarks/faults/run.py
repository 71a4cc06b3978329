"""Runs faults one after the other against one stack under load, stops it under load, and counts at the end."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.faults.catalogue import Fault
from benchmarks.faults.clock import Clock
from benchmarks.faults.figures import figures
from benchmarks.faults.load import Load
from benchmarks.faults.memory import BROKER_BYTES
from benchmarks.faults.ramps import Ramps
from benchmarks.faults.scene import NotRecovered, Report, Scene
from benchmarks.faults.stack import Stack, home
from benchmarks.report import Result

CALM_SECONDS = 3.0  # between two faults
STOP = "stop"  # name of the report about the end


def run(
    faults: Sequence[Fault],
    rate: float,
    hold_seconds: float,
    console: Console,
    only: str = "",
    warm_seconds: float = 10,
) -> list[Result]:
    """Start, load, do each fault and wait for recovery, stop under load, start again, count.

    rate: samples a second. Raises CommandError where the stack does not start, NotRecovered where the load does not.
    """
    with home(own_disk=True) as (folder, own_disk):
        console.print(f"A stack on {folder}" + (", its database on a disk of its own" if own_disk else ""))
        clock = Clock(_open(folder / "clock"))
        environment = {
            "FOREWARN_BROKER_MEMORY_BYTES": str(BROKER_BYTES),
            "FOREWARN_KAFKA_PARTITIONS": "4",  # second members are to get a share
            "FOREWARN_MAX_AHEAD_SECONDS": "0",  # clocks jump by an hour: what is sent then is counted, too
            **clock.environment,
        }
        stack = Stack(folder, environment, only=only, own_disk=own_disk)
        try:
            console.print(f"  ready after {stack.start():.0f} s: {', '.join(stack.services())}")
            address = stack.gateway  # it stays while the stack is away
            load, ramps = Load(lambda: address, rate), Ramps(lambda: address)
            scene = Scene(stack, load, ramps, hold_seconds, clock)
            reports = _under_load(scene, faults, console, warm_seconds)
            _settle(scene, reports)
            return figures(scene, reports, faults, console)
        finally:
            console.print(f"  stopped in {stack.stop():.0f} s")


def _settle(scene: Scene, reports: list[Report]) -> None:
    """Wait until all is read; where it never is, the counts are made all the same."""
    try:
        scene.settle()
    except NotRecovered as error:
        reports[-1].told += f"; {error}"


def _open(folder: Path) -> Path:
    """A folder that the database's user may enter, too."""
    folder.mkdir(mode=0o755)
    return folder


def _under_load(scene: Scene, faults: Sequence[Fault], console: Console, warm_seconds: float) -> list[Report]:
    load, ramps, reports = scene.load, scene.ramps, []
    ramps.start()
    load.start()
    try:
        _await_live(ramps)
        time.sleep(warm_seconds)
        for fault in faults:
            reports.append(_do(fault, scene, console))
            time.sleep(CALM_SECONDS)
        time.sleep(warm_seconds)
        reports.append(_stop(scene, console))
    finally:
        load.stop()
        ramps.stop()
    scene.stack.start()
    return reports


def _await_live(ramps: Ramps, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ramps.live:
        if time.monotonic() > deadline:
            raise NotRecovered(f"the gateway took only {ramps.cells} cells within {seconds:.0f} s")
        time.sleep(0.1)


def _do(fault: Fault, scene: Scene, console: Console) -> Report:
    report = Report(fault.name, fault.title, time.monotonic())
    if fault.needs and fault.needs not in scene.stack.services():
        report.told, report.left_out = f"{fault.needs} is not part of this stack", True
        return report
    restarts = scene.stack.restarts()
    try:
        fault.act(scene, report)
    except NotRecovered as error:
        report.problem, report.left_out = str(error), str(error).startswith("left out")
    report.ended = report.ended or time.monotonic()
    if not report.left_out:
        scene.await_recovery(report)
    report.restarts = scene.stack.restarts() - restarts
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.parts.items())
    outcome = report.problem or f"recovered in {report.recovery_seconds:.1f} s"
    console.print(f"  {fault.title}: {outcome} ({parts}; {report.restarts} restarts) {report.told}", highlight=False)
    return report


def _stop(scene: Scene, console: Console) -> Report:
    """SIGTERM to the whole stack under load."""
    report = Report(STOP, "stopped under load", time.monotonic())
    seconds = scene.stack.stop()
    report.ended = report.recovered = time.monotonic()
    report.told = f"stopped in {seconds:.1f} s"
    console.print(f"  {report.title}: {report.told}")
    return report

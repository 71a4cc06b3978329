"""The clock on the wall jumps: that of the senders, and that of every process of the stack."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

from benchmarks.faults.scene import NotRecovered, Report, Scene

_SOURCE = Path(__file__).with_name("clock.c")
HOUR = 3600.0


class Clock:
    """A clock that a stack's processes see, moved by what stands in a file; the real one where no compiler is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock.offset"
        self._file.write_bytes(struct.pack("=q", 0))
        self._file.chmod(0o644)
        self._library = folder / "clock.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        command = [compiler or "cc", "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE), "-ldl"]
        self.can_jump = compiler is not None and subprocess.run(command, check=False).returncode == 0

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes that see it."""
        if not self.can_jump:
            return {}
        return {"LD_PRELOAD": str(self._library), "FOREWARN_CHAOS_CLOCK": str(self._file)}

    def jump(self, seconds: float) -> None:
        """Be ahead of the real time by so much from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))


def senders(scene: Scene, report: Report) -> None:
    """Samples come from an hour ahead, then from an hour ago, then from now."""
    for hours in (1, -1):
        scene.load.skew_seconds = hours * HOUR
        scene.hold(1 / 6)
    scene.load.skew_seconds = 0.0
    report.ended = time.monotonic()
    report.told = f"an hour ahead and an hour behind for {scene.hold_seconds / 6:g} s each"


def processes(scene: Scene, report: Report) -> None:
    """All processes of the stack are an hour ahead, then an hour behind, then right."""
    if scene.clock is None or not scene.clock.can_jump:
        raise NotRecovered("left out: no C compiler is here, which the moved clock needs")
    for hours in (1, -1):
        scene.clock.jump(hours * HOUR)
        scene.hold(1 / 3)
    scene.clock.jump(0)
    report.ended = time.monotonic()
    report.told = f"an hour ahead and an hour behind for {scene.hold_seconds / 3:g} s each"

"""The disk of the archive is full: a real one, small and of its own, for tables and write-ahead log alike."""

import errno
import os
import time
from pathlib import Path

from benchmarks.faults.scene import NotRecovered, Report, Scene

_PIECE = 2**20


def full(scene: Scene, report: Report) -> None:
    """Fill it, keep it full for half of the time, make room again."""
    if not scene.stack.own_disk:
        raise NotRecovered("left out: the database has no disk of its own here (mounting one needs root)")
    filler = scene.stack.home / "postgres" / "filler"
    try:
        with filler.open("ab") as file:
            began = time.monotonic()
            while time.monotonic() - began < scene.hold_seconds / 2:
                _fill(file.fileno())
                time.sleep(0.2)
        size = filler.stat().st_size
    finally:
        filler.unlink(missing_ok=True)
    report.ended = time.monotonic()
    report.told = f"full for {scene.hold_seconds / 2:g} s ({size / 2**30:.1f} GiB were free); {_last_words(scene)}"


def _fill(file: int) -> None:
    piece = _PIECE
    while piece:
        try:
            os.write(file, bytes(piece))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 16


def _last_words(scene: Scene) -> str:
    """What the database says of a full disk."""
    log = Path(scene.stack.home / "logs" / "postgres.log").read_text(errors="replace").splitlines()
    said = [line for line in log if "No space left" in line]
    panics = sum("PANIC" in line for line in said)
    return f"the database said {len(said)} times that no space is left, {panics} times it ended for it"

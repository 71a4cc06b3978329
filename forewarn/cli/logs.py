"""`forewarn logs`: what a service has logged."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

from forewarn.cli.failure import CommandError
from forewarn.config.settings import Settings


def logs(name: str, follow: bool, lines: int, home: Path | None) -> None:
    """Print the last lines of a service's log, and go on if asked to."""
    folder = (home or Settings().home) / "logs"
    present = sorted(path.stem for path in folder.glob("*.log"))
    if not name:
        sys.stdout.write("\n".join(present) + "\n" if present else "")
        if not present:
            raise CommandError(f"there are no logs in {folder}: start a stack with `forewarn up`")
        return
    if name not in present:
        known = f"there are: {', '.join(present)}" if present else "start a stack with `forewarn up`"
        raise CommandError(f"no log is called {name} in {folder}; {known}")
    with (folder / f"{name}.log").open("rb") as file:
        sys.stdout.buffer.writelines(deque(file, maxlen=lines))
        sys.stdout.buffer.flush()
        if follow:
            _follow(file, folder / f"{name}.log")


def _follow(file: BinaryIO, path: Path) -> None:
    """Print what is added; a log that was set aside is read on in its new file."""
    while True:
        added = file.read()
        if added:
            sys.stdout.buffer.write(added)
            sys.stdout.buffer.flush()
            continue
        if path.exists() and path.stat().st_size < file.tell():
            return _follow(path.open("rb"), path)
        time.sleep(0.25)

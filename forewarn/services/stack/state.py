"""Writes the state file of a running stack and keeps a second one off the same home."""

import fcntl
import os
from pathlib import Path

from forewarn.config.running import STATE_FILE, ServiceState, StackState, read_state, running

__all__ = ["HomeLock", "ServiceState", "StackState", "read_state", "remove_state", "running", "write_state"]


def write_state(state: StackState) -> None:
    """Replace the state file in one step, so that no reader sees half of it."""
    target = Path(state.home) / STATE_FILE
    draft = target.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(state.to_json())
    draft.replace(target)


def remove_state(home: Path) -> None:
    """Forget the stack that ran here."""
    (home / STATE_FILE).unlink(missing_ok=True)


class HomeLock:
    """A lock on a home that the kernel releases however its process ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "stack.lock"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """True where this process holds the lock now."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

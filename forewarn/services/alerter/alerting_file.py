"""The alerting file in force: read again when it changes; one that is wrong is said and not taken up."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from forewarn.alerting.defaults import default_policy
from forewarn.alerting.policy import Policy
from forewarn.alerting.policy_file import PolicyError, load_policy
from forewarn.config.settings import Settings

logger = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0


class AlertingFile:
    """`policy` is what holds now. A file that cannot be used at the start raises PolicyError or OSError."""

    def __init__(self, settings: Settings) -> None:
        self._path: Path | None = settings.alerting
        self._stamp = self._read_stamp()
        self.policy: Policy = load_policy(self._path) if self._path else default_policy(settings)
        self._looked_at = time.monotonic()

    def refresh(self, audit: Callable[[str, str], None] = lambda action, reason: None) -> bool:
        """Take up a file that has changed, at most once a second; whether another policy holds now."""
        if self._path is None or time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        stamp = self._read_stamp()
        if stamp is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            policy = load_policy(self._path)
        except (PolicyError, OSError, UnicodeDecodeError) as error:
            logger.error("the alerting file is wrong, the old one holds on", error=str(error))
            audit("keep the old alerting file", str(error))
            return False
        changed = policy != self.policy
        self.policy = policy
        if changed:
            logger.info("the alerting file has changed and is taken up", file=str(self._path))
            audit("take up the alerting file", str(self._path))
        return changed

    def _read_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found is not None else None

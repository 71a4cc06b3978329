"""The responses in force: read again when their file changes; a file that is wrong is said and the old ones hold on."""

import hashlib
from collections.abc import Set
from pathlib import Path

import structlog

from forewarn.alerting.policy_file import PolicyError
from forewarn.alerting.responses.file import load_responses
from forewarn.alerting.responses.response import ResponsesFile

logger = structlog.get_logger(__name__)
_NONE = ResponsesFile(responses=[])


class ResponsesInForce:
    """`file` is what holds now; `notes` are decisions for the audit, (action, reason). A missing file: no responses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[str, int] | None = None
        self.file = _NONE
        self.known = False  # until the file could be read once, nothing is proposed, ended or run
        self.notes: list[tuple[str, str]] = []

    def refresh(self, labels: Set[str] | None = None) -> None:
        """Take up a file whose content or mode has changed. labels: those that matchers may use."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            file = load_responses(self._path, labels) if stamp[0] else _NONE
        except (PolicyError, OSError, UnicodeDecodeError) as error:
            logger.error("the file of responses is wrong, the old ones hold on", error=str(error))
            self.notes.append(("keep the old responses", str(error)[:2000]))
            return
        self.file, self.known = file, True
        number = len(file.responses)
        logger.info("responses are taken up", file=str(self._path), responses=number)
        self.notes.append(("take up the responses", f"{self._path}: {number} responses" if stamp[0] else "no file"))

    def _read_stamp(self) -> tuple[str, int]:
        """A digest of the content and the file's mode; '' where there is no file."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest(), self._path.stat().st_mode
        except OSError:
            return "", 0

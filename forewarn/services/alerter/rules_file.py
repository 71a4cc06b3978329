"""The rules in force: read again when their file or the channels change; where they are wrong, the old ones hold on."""

import hashlib
from pathlib import Path

import structlog

from forewarn.alerting.policy_file import PolicyError
from forewarn.alerting.rules.file import load_rules
from forewarn.alerting.rules.rule import Rule

logger = structlog.get_logger(__name__)


class RulesInForce:
    """`rules` is what holds now; `notes` are decisions for the audit, (action, reason). One thread refreshes it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._loaded = False
        self._right = True  # whether what was read last could be taken up
        self._seen: tuple[str, frozenset[str]] = "", frozenset()
        self.rules: tuple[Rule, ...] = ()
        self.known = True  # False: the file was wrong from the start, and what fired before must not be told to be over
        self.notes: list[tuple[str, str]] = []

    def refresh(self, channels: set[str]) -> bool:
        """Take up a file whose content has changed; whether other rules hold now. A missing file is no rules.

        channels: of the alerting file; a rule may be wrong, or no longer be, by a change of them alone.
        """
        if self._path is None:
            return False
        stamp = self._read_stamp()
        before, self._seen = self._seen, (stamp, frozenset(channels))
        if self._seen == before:
            return False
        try:
            rules = tuple(load_rules(self._path, channels).rules) if stamp else ()
        except (PolicyError, OSError, UnicodeDecodeError) as error:
            logger.error("the rules are wrong, the old ones hold on", error=str(error))
            self.notes.append(("keep the old rules", str(error)[:2000]))
            self._right = False
            self.known &= self._loaded
            return False
        self._loaded |= bool(stamp)
        if self._right and rules == self.rules:
            return False  # other channels, another comment, still no file: nothing to say
        self.known = self._right = True
        changed, self.rules = rules != self.rules, rules
        logger.info("rules are taken up", file=str(self._path), rules=len(rules))
        self.notes.append(("take up the rules", f"{self._path}: {len(rules)} rules" if stamp else "there is no file"))
        return changed

    def _read_stamp(self) -> str:
        """A digest of the content, '' where there is no file."""
        assert self._path is not None
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            return ""

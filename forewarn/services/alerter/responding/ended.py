"""How a response ended, and what of its output is kept."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from forewarn.telemetry.scrub import Scrubber

HEAD, TAIL = 2048, 6144  # bytes of output that are kept
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Ended:
    """status: 'succeeded', 'failed', or 'unknown' where it may or may not have been done. outcome: in a sentence."""

    status: str
    outcome: str
    output: str = ""


class Kept:
    """The begin and the end of an output, however long it is."""

    def __init__(self) -> None:
        self._head, self._tail, self._total = b"", b"", 0

    def add(self, piece: bytes) -> None:
        """Another piece of it."""
        self._total += len(piece)
        free = HEAD - len(self._head)
        self._head += piece[:free]
        self._tail = (self._tail + piece[free:])[-TAIL:] if len(piece) > free else self._tail

    def text(self, secrets: Collection[str]) -> str:
        """Without control characters, our secrets and what looks like a secret."""
        left_out = self._total - len(self._head) - len(self._tail)
        gap = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return clean((self._head + gap + self._tail).decode("utf-8", "replace"), secrets)


def clean(text: str, secrets: Collection[str]) -> str:
    """A text of a program or a server as it may be stored and shown."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "•••")
    return Scrubber().text(_CONTROL.sub("", text))[0].strip()

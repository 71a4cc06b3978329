"""How far each partition of the log was read: a partition in which nothing new comes must not hold back the others."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from forewarn.risk.engine import RiskEngine

SETTLED_SECONDS = 0.3  # in which what others had put on the log before reaches us: a few times the wait of a fetch
BULK_SECONDS = 5.0  # without a message after which an import is over

Key = tuple[int, str]  # partition, namespace


@dataclass(frozen=True, slots=True)
class _Mark:
    """When the end of a partition was looked at, and the newest event time of each namespace at that moment."""

    end: int
    at: float
    clocks: dict[str, int]


class ReadProgress:
    """Tells the engines of a partition that they have all there is, and that an import came to its end.

    Partitions are read one after the other. An engine alone cannot know whether its entities are silent or not read
    yet; once its partition is read past the end that it had when others were at event time t, nothing before t is
    missing.
    """

    def __init__(self) -> None:
        self._marks: dict[int, _Mark] = {}
        self._bulk: dict[Key, tuple[int, float]] = {}  # newest event time of an import, and since when

    def clear(self) -> None:
        """After a new assignment of partitions."""
        self._marks.clear()
        self._bulk.clear()

    def follow(self, offsets: Mapping[int, tuple[int, int]], engines: Mapping[Key, RiskEngine]) -> None:
        """offsets: of each partition the next to be read and the one after the last that is known."""
        now, clocks = time.monotonic(), dict[str, int]()
        for (_, namespace), engine in engines.items():
            clocks[namespace] = max(clocks.get(namespace, -1), engine.windows.newest_ns)
        passed = {p: self._pass(p, position, end, now, clocks) for p, (position, end) in offsets.items()}
        for key, engine in engines.items():
            engine.read_until_ns = max(engine.read_until_ns, passed.get(key[0], {}).get(key[1], -1))
            position, end = offsets.get(key[0], (0, 1))
            if engine.bulk and position >= end:
                self._end_bulk(key, engine, now)

    def _pass(self, partition: int, position: int, end: int, now: float, clocks: dict[str, int]) -> dict[str, int]:
        """Clocks of the mark that was passed, {} where none was; sets the next mark."""
        mark = self._marks.get(partition)
        if mark is not None and (position < mark.end or now - mark.at < SETTLED_SECONDS):
            return {}
        self._marks[partition] = _Mark(end, now, clocks)
        return mark.clocks if mark is not None else {}

    def _end_bulk(self, key: Key, engine: RiskEngine, now: float) -> None:
        newest = engine.windows.newest_ns
        known, since = self._bulk.setdefault(key, (newest, now))
        if known != newest:
            self._bulk[key] = newest, now
        elif now - since > BULK_SECONDS:
            engine.bulk = False
            del self._bulk[key]

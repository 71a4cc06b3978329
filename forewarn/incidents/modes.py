"""What a failure mode is called in a sentence, and whether it can be a consequence of another entity's trouble."""

from dataclasses import dataclass
from functools import lru_cache

from forewarn.incidents.graph import MAX_HOPS
from forewarn.risk.catalogue import failure_mode

# What an entity uses up by itself: a dependency in trouble does not fill its disk or leak its memory.
_OF_ITS_OWN = frozenset({"memory_exhaustion", "disk_full", "fd_exhaustion", "cpu_saturation"})
# What does nobody harm until it is used up: before that, callers do not feel it.
_SILENT = frozenset({"memory_exhaustion", "disk_full", "fd_exhaustion"})
# A promise to users that is broken, rather than a capacity that is used up.
_OBJECTIVES = frozenset({"error_rate_climb", "latency_breach"})


@dataclass(frozen=True, slots=True)
class ModeWords:
    """Words for a mode.

    spreads: entities that depend on each other can hand it on. objective: a promise to users that is broken, rather
    than a capacity that is used up. silent: nobody feels it before it is used up.
    """

    noun: str
    spreads: bool
    objective: bool = False
    silent: bool = False

    @property
    def calls_from_cause(self) -> int:
        """How many calls away what causes it may be, at most.

        A promise to users breaks wherever something below is slow or fails. A capacity is used up by what is called
        directly: from further away the trouble comes through a service in between, which is in trouble then, too.
        """
        if self.objective:
            return MAX_HOPS
        return 1 if self.spreads else 0

    def feels(self, cause: "ModeWords") -> bool:
        """Whether trouble of what it depends on can be felt before that is used up: a promise may be broken by then."""
        return self.objective or not cause.silent

    def reaches(self, limit: str) -> str:
        """`connection pool reaches its limit of 100`."""
        return f"{self.noun} {'breaks its objective' if self.objective else 'reaches its limit'} of {limit}"

    def reached(self, limit: str) -> str:
        """`connection pool reached its limit of 100`."""
        return f"{self.noun} {'broke its objective' if self.objective else 'reached its limit'} of {limit}"


@lru_cache(maxsize=10_000)
def words_of(mode: str, signal: str) -> ModeWords:
    """Words of a mode, with the attributes that tell one signal from another: `file system (mountpoint=/data)`.

    A mode that the catalogue does not give this signal is named by the signal.
    """
    name, _, attributes = signal.partition("{")
    entry = failure_mode(name)
    noun = entry.what if entry.mode == mode and mode != "capacity" else name
    if attributes:
        noun = f"{noun} ({attributes.removesuffix('}').replace(',', ', ')})"
    return ModeWords(noun, spreads=mode not in _OF_ITS_OWN, objective=mode in _OBJECTIVES, silent=mode in _SILENT)

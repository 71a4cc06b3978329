"""How logs, spans and activity are counted."""

from dataclasses import dataclass

NANOSECONDS = 10**9


@dataclass(frozen=True, slots=True)
class Options:
    """Times are event times in seconds.

    bucket: width in which things are counted; allowance: how late one may come after a bucket's end; alive: how long
    a source that has fallen silent still counts as zero, absent after it; learning: how long an entity's templates
    are learned before one can be new; conversions: the actions that a session is for; session_gap: silence that ends
    a session.
    """

    bucket: float = 10.0
    allowance: float = 30.0
    alive: float = 300.0
    learning: float = 3600.0
    conversions: frozenset[str] = frozenset({"checkout"})
    session_gap: float = 1800.0

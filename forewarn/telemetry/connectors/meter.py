"""What counts the records of one entity: a bucket at a time, into values of signals."""

from collections.abc import Iterable, Mapping
from typing import Protocol, Self, TypeVar

from forewarn.telemetry.connectors.options import Options

R_contra = TypeVar("R_contra", contravariant=True)
B = TypeVar("B")
Key = tuple[str, tuple[tuple[str, str], ...]]  # a signal and its attributes
Values = dict[Key, float]

OTHER = "other"  # stands for what is beyond a bound


class Meter(Protocol[R_contra, B]):
    """Counts records R of one entity into buckets B. Both it and its buckets are what msgspec can encode."""

    @classmethod
    def begin(cls, entity: str, time: int) -> Self:
        """For an entity whose first record is of this time (ns)."""
        ...

    def bucket(self) -> B:
        """An empty one."""
        ...

    def count(self, bucket: B, record: R_contra, options: Options) -> None:
        """Add a record to its bucket."""
        ...

    def close(self, bucket: B, end: int, options: Options) -> Values:
        """Signals of a bucket that ends at `end` (ns). Buckets are closed in order of time."""
        ...


def unit_of(signal: str) -> str:
    """The unit of a derived signal, from the end of its name."""
    if ".duration." in signal:
        return "s"
    return "1/s" if signal.endswith("rate") else "1"


def slot(known: dict[str, int], name: str, time: int, most: int) -> str:
    """`name` if it is one of the first `most` different ones, `other` after them. `known`: when each came first."""
    first = known.get(name)
    if first is None and len(known) >= most:
        return OTHER
    if first is None or time < first:
        known[name] = time
    return name


def known_by(end: int, known: Mapping[str, int], counted: Iterable[str]) -> list[str]:
    """What is told of a bucket that ends at `end`: zeros, too, but not of what came first after it."""
    begun = [name for name, first in known.items() if first < end]
    return begun + [name for name in counted if name not in known]

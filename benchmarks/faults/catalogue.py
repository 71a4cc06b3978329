"""All faults by name, in the order in which they are done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.faults.kill import PROCESSES, kill
from benchmarks.faults.scene import Report, Scene


@dataclass(frozen=True, slots=True)
class Fault:
    """act: does it and returns when it is over; enters in the report when that was (`ended`).

    forgets: it takes the embedded broker's memory away, so that losses are expected and counted apart.
    """

    name: str
    title: str
    act: Callable[[Scene, Report], None]
    needs: str = ""  # a service without which it is left out
    forgets: bool = False


FAULTS = [
    *(Fault(f"kill-{name}", f"kill -9 {name}", kill(name), name) for name in PROCESSES),
    Fault("kill-broker", "kill -9 broker (its log is in memory)", kill("broker"), "broker", forgets=True),
]
GROUPS = {"kill": [f.name for f in FAULTS if f.name.startswith("kill-") and not f.forgets]}


def chosen(words: Sequence[str]) -> list[Fault]:
    """The faults of these names and groups, all without any. Raises ValueError for a word that is neither."""
    known = {f.name for f in FAULTS} | set(GROUPS)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    names = {name for word in words for name in GROUPS.get(word, [word])}
    return [f for f in FAULTS if not words or f.name in names]

"""All faults by name, in the order in which they are done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.faults import beginning, clock, consumers, disk, memory, poison, stopped
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


_SQUEEZED = ("gateway", "archiver", "connector", "predictor", "alerter")
FAULTS = [
    *(Fault(f"kill-{name}", f"kill -9 {name}", kill(name), name) for name in PROCESSES),
    Fault("broker", "broker stopped", stopped.stopped("broker"), "broker"),
    Fault("database", "PostgreSQL stopped", stopped.stopped("postgres"), "postgres"),
    Fault("connections", "PostgreSQL's connections exhausted", stopped.exhausted, "postgres"),
    Fault("disk", "disk of the archive full", disk.full, "postgres"),
    Fault("poison", "poisoned messages on every topic", poison.poison),
    Fault("clock-senders", "clock of the senders jumps", clock.senders),
    Fault("clock", "clock of all processes jumps", clock.processes),
    Fault("slow", "slow archiver", consumers.slow("archiver"), "archiver"),
    Fault("rebalance-archiver", "archivers come, sleep and go in mid-batch", consumers.second_archiver, "archiver"),
    Fault("rebalance-predictor", "predictors come and go under load", consumers.second_predictor, "predictor"),
    Fault("takeover-alerter", "another alerter takes over", consumers.second_alerter, "alerter"),
    *(Fault(f"memory-{name}", f"no memory for the {name}", memory.squeezed(name), name) for name in _SQUEEZED),
    Fault("begin", "services start while the database is down", beginning.without_database, "archiver"),
    Fault("memory-broker", "broker holds more than it may", memory.broker_full, "broker", forgets=True),
    Fault("kill-broker", "kill -9 broker", kill("broker"), "broker", forgets=True),
]  # fmt: skip
GROUPS = {
    "kill": [f"kill-{name}" for name in PROCESSES],
    "memory": [f"memory-{name}" for name in (*_SQUEEZED, "broker")],
    "rebalance": ["rebalance-archiver", "rebalance-predictor", "takeover-alerter"],
}


def chosen(words: Sequence[str]) -> list[Fault]:
    """The faults of these names and groups, all without any. Raises ValueError for a word that is neither."""
    known = {f.name for f in FAULTS} | set(GROUPS)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    names = {name for word in words for name in GROUPS.get(word, [word])}
    return [f for f in FAULTS if not words or f.name in names]

"""How long a killed predictor takes to be replaced: windows of 100,000 series are rebuilt from the log."""

import time

from benchmarks.report import Result
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.fleet import START_NS, Fleet
from benchmarks.streaming.predictor import Predictor
from benchmarks.streaming.rate import history, scrapes

ENTITIES, CELLS = 2000, 120


def measure(entities: int = ENTITIES, cells: int = CELLS) -> list[Result]:
    """SIGKILL, another process at once, until it has read the log and scored everything again."""
    fleet, samples = Fleet(entities), entities * 50 * (cells + 2)
    with running_broker() as address:
        send(address, history(fleet, cells))
        send(address, scrapes(fleet, 2, 60))
        first = Predictor(address, 60, 60)
        try:
            first.wait(samples)
        finally:
            first.kill()
        killed = time.monotonic()
        send(address, scrapes(fleet, 2, 60, START_NS + 120 * 10**9))  # comes in while nobody reads
        second = Predictor(address, 60, 60)
        try:
            recovered = second.wait(samples + entities * 100) - killed
        finally:
            second.kill()
    note = f"log of {cells} min at 60 s ({samples:,} samples); includes the broker's 6 s before a member counts as dead"
    return [Result(f"recovery after SIGKILL, {entities * 50:,} series", recovered, "s", note=note)]

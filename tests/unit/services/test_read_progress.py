"""A silent partition does not hold the clock once it is read; an import that ends is an end."""

import numpy as np
import pytest

from forewarn.risk.engine import RiskEngine
from forewarn.services import read_progress
from forewarn.services.read_progress import BULK_SECONDS, SETTLED_SECONDS, ReadProgress
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 60 * 10**9
START = 28_333_335 * STEP_NS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(read_progress.time, "monotonic", lambda: now[0])
    return now


def engines(*cells: int) -> dict[tuple[int, str], RiskEngine]:
    """One engine of a namespace for each partition, with samples up to a cell."""
    made = {(partition, "shop"): RiskEngine("shop", 60, 0, 1) for partition in range(len(cells))}
    for engine, count in zip(made.values(), cells, strict=True):
        engine.peers = list(made.values())
        take(engine, 0, count)
    return made


def take(engine: RiskEngine, first: int, count: int, in_one: bool = False) -> None:
    for cell in [first] if in_one else range(first, first + count):
        times = START + np.arange(cell, cell + count if in_one else cell + 1) * STEP_NS
        series = (Series("shop/api", "process.memory.usage"),)
        engine.ingest(SampleBatch(series, np.zeros(len(times), np.int32), times, np.ones(len(times))))


def test_a_silent_partition_is_passed_once_it_is_read(clock: list[float]) -> None:
    made, progress = engines(3, 9), ReadProgress()
    progress.follow({0: (3, 3), 1: (9, 9)}, made)
    assert made[0, "shop"].due() == START // STEP_NS + 3  # what is on its way may be late
    clock[0] += 2 * SETTLED_SECONDS
    progress.follow({0: (3, 3), 1: (9, 9)}, made)
    assert made[0, "shop"].due() == made[1, "shop"].due() == START // STEP_NS + 9


def test_a_partition_that_is_behind_holds_the_clock_however_long(clock: list[float]) -> None:
    made, progress = engines(3, 9), ReadProgress()
    for _ in range(3):
        progress.follow({0: (3, 40), 1: (9, 9)}, made)
        clock[0] += 60
    assert made[1, "shop"].due() == START // STEP_NS + 3
    take(made[1, "shop"], 9, 3)
    progress.follow({0: (40, 50), 1: (12, 12)}, made)  # past what it had when the others were at 9
    assert made[1, "shop"].due() == START // STEP_NS + 9


def test_an_import_that_falls_silent_blocks_nobody(clock: list[float]) -> None:
    made, progress = engines(3, 9), ReadProgress()
    take(made[0, "shop"], 0, 200, in_one=True)
    progress.follow({0: (4, 90), 1: (9, 9)}, made)
    clock[0] += 2 * BULK_SECONDS
    progress.follow({0: (4, 90), 1: (9, 9)}, made)
    assert made[1, "shop"].due() is None  # there is more of it
    progress.follow({0: (90, 90), 1: (9, 9)}, made)
    assert made[1, "shop"].due() is None
    clock[0] += BULK_SECONDS + 1
    progress.follow({0: (90, 90), 1: (9, 9)}, made)
    assert made[1, "shop"].due() is not None

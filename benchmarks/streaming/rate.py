"""Samples a second from the topic to features and risks, beside what consuming and decoding alone can do."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from benchmarks.report import Result, at_least
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.fleet import START_NS, Fleet, Template

ENTITIES, HISTORY, SCRAPES, SCRAPE_SECONDS = 400, 180, 240, 10
_ENTITY_SERIES = 50
_MODES = ("consume", "decode", "stream")
_GATE_SECONDS = 180.0
_PARTITIONS = 4


def history(fleet: Fleet, cells: int = HISTORY) -> Iterator[tuple[str, bytes]]:
    """`cells` minutes of every series before START_NS, so that the windows are not empty."""
    rng = np.random.default_rng(1)
    times = START_NS + np.arange(-cells, 0, dtype=np.int64) * 60 * 10**9
    for part in np.array_split(times, max(1, cells // 180)):
        for name in fleet.names:
            yield name, Template(name, len(part)).messages(part[None], fleet.values(rng, part)[None])[0]


def scrapes(
    fleet: Fleet, count: int, seconds: float = SCRAPE_SECONDS, start_ns: int = START_NS
) -> Iterator[tuple[str, bytes]]:
    """`count` scrapes of every entity, in the order of time."""
    rng = np.random.default_rng(2)
    templates = [Template(name) for name in fleet.names]
    block = 20
    for first in range(0, count, block):
        n = min(block, count - first)
        times = start_ns + ((first + np.arange(n)) * seconds * 1e9).astype(np.int64)
        parts = []
        for template in templates:
            values = fleet.values(rng, times)  # [S, n]
            parts.append(template.messages(times[:, None], values.T[:, :, None]))
        for i in range(n):
            yield from ((name, part[i]) for name, part in zip(fleet.names, parts, strict=True))


def measure(entities: int = ENTITIES, scrape_count: int = SCRAPES) -> list[Result]:
    """All three modes with one process and with two."""
    fleet = Fleet(entities)
    past, samples = entities * _ENTITY_SERIES * HISTORY, entities * _ENTITY_SERIES * scrape_count
    rates = {}
    for processes in (1, 2):
        with running_broker(_PARTITIONS) as address:  # a log of its own: what one has told is not scored again
            send(address, history(fleet))
            messages, size, _ = send(address, scrapes(fleet, scrape_count))
            for mode in _MODES:
                rates[mode, processes] = run(address, mode, processes, past, past + samples).rate
    note = (
        f"{entities * _ENTITY_SERIES:,} series, one message an entity and scrape ({size / messages:,.0f} B, "
        f"{_ENTITY_SERIES} samples), {SCRAPE_SECONDS} s apart, scored each minute, {entities * 10:,} limited series"
    )
    return list(_results(rates, note))


def _results(rates: dict[tuple[str, int], float], note: str) -> Iterator[Result]:
    for processes in (1, 2):
        stream, decode = rates["stream", processes], rates["decode", processes]
        baselines = {"consume": rates["consume", processes], "consume + decode": decode}
        plural = "process" if processes == 1 else "processes"
        name = f"topic → features → risk, {processes} {plural}"
        if processes == 2:
            yield at_least(name, stream, "samples/s", 200_000, baselines=baselines, note=note)
        else:
            yield Result(name, stream, "samples/s", baselines=baselines, note=note)
        yield at_least(f"share of consume + decode, {processes} {plural}", stream / decode, "", 0.5)


@dataclass(frozen=True)
class Run:
    """rate: samples a second of all processes together. samples, cpu_seconds: of each process."""

    rate: float
    samples: list[int]
    cpu_seconds: list[float]


def run(address: str, mode: str, processes: int, past: int, total: int) -> Run:
    """What processes of one group do once each has its partitions and the past."""
    context = multiprocessing.get_context("spawn")
    gate, reports = context.Event(), context.Queue()
    counts = [context.Value("q", 0) for _ in range(processes)]
    group = f"{mode}-{processes}"
    workers = [
        context.Process(target=_work, args=(address, mode, group, past, processes, gate, count, reports))
        for count in counts
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in workers:
            reports.get(timeout=_GATE_SECONDS)
        began, before, cpu = time.perf_counter(), [c.value for c in counts], [_cpu_seconds(w.pid) for w in workers]
        gate.set()
        deadline = began + 90
        while sum(c.value for c in counts) < total * 0.999 and time.perf_counter() < deadline:
            time.sleep(0.01)
        seconds, done = time.perf_counter() - began, [c.value - b for c, b in zip(counts, before, strict=True)]
        spent = [_cpu_seconds(w.pid) - b for w, b in zip(workers, cpu, strict=True)]
        return Run(sum(done) / seconds, done, spent)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _cpu_seconds(pid: int | None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _work(address: str, mode: str, group: str, past: int, processes: int, gate: Any, count: Any, reports: Any) -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # one process, one core of ours
    partitions, past = _PARTITIONS // processes, past // processes
    if mode == "stream":
        _stream(address, past, partitions, gate, count, reports)
    else:
        _consume(address, mode, group, past, partitions, gate, count, reports)


def _consume(address: str, mode: str, group: str, past: int, mine: int, gate: Any, count: Any, reports: Any) -> None:
    from confluent_kafka import OFFSET_BEGINNING

    from forewarn.stores.log import consumer
    from forewarn.telemetry import topics
    from forewarn.telemetry.otlp_metrics import decode_metrics

    def assign(member: Any, partitions: list[Any]) -> None:
        count.value = 0
        for partition in partitions:
            partition.offset = OFFSET_BEGINNING
        member.assign(partitions)

    member = consumer(address, group, [topics.METRICS], on_assign=assign)
    told = False
    while True:
        for message in member.consume(500, timeout=0.05):
            if mode == "decode":
                count.value += len(decode_metrics(message.value()))
            else:  # a message of the past has 180 times as many samples
                count.value += _ENTITY_SERIES * (HISTORY if len(message.value()) > 100_000 else 1)
        if not told and count.value >= past * 0.9 and len(member.assignment()) == mine:
            told = True
            reports.put("ready")
            gate.wait()


def _stream(address: str, past: int, mine: int, gate: Any, count: Any, reports: Any) -> None:
    from forewarn.config.settings import Settings
    from forewarn.risk.first_day import FirstDayScorer
    from forewarn.risk.scorer import Scorer
    from forewarn.services import prediction_stream

    prediction_stream.CATCHING_UP_MESSAGES = 2**40  # type: ignore[misc]  # never fill windows without scoring
    scorer, told, assigned = FirstDayScorer(), False, 0

    class Counted(prediction_stream.PredictionStream):
        """Counts from the last assignment on."""

        def _assign(self, member: Any, partitions: list[Any]) -> None:
            nonlocal assigned
            super()._assign(member, partitions)
            self._rebuild_to = {}  # all that is on the log is to be scored as it was
            self.counters["samples_total"], assigned = 0, len(partitions)

        def _work(self, member: Any, messages: list[Any]) -> None:
            super()._work(member, messages)  # what is at the end is counted, too, though no cell after it is due
            count.value = int(self.counters["samples_total"])

    def gated() -> Scorer:
        nonlocal told
        count.value = int(stream.counters["samples_total"])
        if not told and count.value >= past * 0.9 and assigned == mine:
            told = True
            reports.put("ready")
            gate.wait()
        return scorer

    settings = Settings(kafka_bootstrap=address, lateness_seconds=60, _env_file=None)  # type: ignore[call-arg]
    stream = Counted(settings, gated)
    stream.run()

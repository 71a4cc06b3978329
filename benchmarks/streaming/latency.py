"""From the sample that completes a cell to the risk on its topic, at 20,000 samples a second."""

import threading
import time
from collections.abc import Iterator

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.report import Result, at_most
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.fleet import Fleet, Template
from benchmarks.streaming.predictor import Predictor
from forewarn.risk.records import decode_risk
from forewarn.stores.log import producer
from forewarn.telemetry import topics

ENTITIES, PAST_CELLS, LIVE_SECONDS = 400, 180, 35
_PARTITIONS = 4
_TOLD_BEFORE = 325  # seconds before the limit at which the first-day scorer tells such a pool


def measure(entities: int = ENTITIES, live_seconds: int = LIVE_SECONDS) -> list[Result]:
    """Cells of one second; a pool of each entity begins to fill at some moment of the run."""
    fleet, rng = Fleet(entities), np.random.default_rng(3)
    begin = (int(time.time()) + 20) * 10**9  # history is sent and taken until then
    full = begin + ((_TOLD_BEFORE + rng.uniform(0, live_seconds, entities)) * 1e9).astype(np.int64)
    with running_broker(_PARTITIONS) as address:
        past = begin + np.arange(-PAST_CELLS, 0, dtype=np.int64) * 10**9
        send(address, _past(fleet, past, full, rng))
        now = np.array([begin - 10**8])  # a batch of the present: history alone is not scored
        send(address, ((n, Template(n).messages(now[None], fleet.values(rng, now)[None])[0]) for n in fleet.names))
        predictor = Predictor(address, 1, 1)
        listener = _Listener(address)
        try:
            predictor.wait(entities * 50 * (PAST_CELLS + 1))
            late = time.time() - begin / 1e9
            if late > 0:
                raise TimeoutError(f"the machine is too busy: the history was taken {late:.1f} s too late")
            produced = _live(address, fleet, begin, live_seconds, full, rng)
            time.sleep(2)
        finally:
            predictor.kill()
            seconds = listener.stop()
    return _results(seconds[seconds[:, 0] >= begin / 1e9], produced / live_seconds)


def _results(risks: np.ndarray, rate: float) -> list[Result]:
    waits = risks[:, 1] - risks[:, 0]
    if len(waits) < 50:
        return [Result("produce → risk", None, "s", note=f"only {len(waits)} risks were told")]
    p50, p99 = (float(np.quantile(waits, q)) for q in (0.5, 0.99))
    note = f"{len(waits):,} risks at {rate:,.0f} samples/s, cells of 1 s, 4,000 limited series scored each second"
    return [
        Result("produce → risk, p50", p50, "s", note=note),
        at_most("produce → risk, p99", p99, "s", 1.0),
        at_most("produce → risk, p99, next goal", p99, "s", 0.25),
    ]


def filling(times_ns: np.ndarray, full_ns: int) -> np.ndarray:
    """A pool that reaches its limit of 100 at `full_ns`."""
    return 100 - (full_ns - times_ns) / 1e9 / 6


def _past(fleet: Fleet, times: np.ndarray, full: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for name, end in zip(fleet.names, full, strict=True):
        values = fleet.values(rng, times)
        values[0] = filling(times, end)
        yield name, Template(name, len(times)).messages(times[None], values[None])[0]


def _live(address: str, fleet: Fleet, begin: int, seconds: int, full: np.ndarray, rng: np.random.Generator) -> int:
    """A scrape of every entity each second, evenly over the second, in real time; how many samples."""
    to = producer(address)
    templates = [Template(name) for name in fleet.names]
    gap, count = 1 / fleet.entities, 0
    for i in range(seconds * fleet.entities):
        due = begin / 1e9 + i * gap
        while (ahead := due - time.time()) > 0:
            to.poll(min(ahead, 0.002))
        entity, now = i % fleet.entities, np.array([time.time_ns()])
        values = fleet.values(rng, now)
        values[0] = filling(now, full[entity])
        to.produce(topics.METRICS, templates[entity].messages(now[None], values[None])[0], fleet.names[entity])
        count += values.size
    to.flush(10)
    return count


class _Listener:
    """Notes when each risk arrives."""

    def __init__(self, address: str) -> None:
        self._reader = Consumer({"bootstrap.servers": address, "group.id": "listener", "fetch.wait.max.ms": 5})
        self._reader.assign([TopicPartition(topics.RISKS, p, OFFSET_BEGINNING) for p in range(_PARTITIONS)])
        self._rows: list[tuple[float, float]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            message = self._reader.poll(0.05)
            if message is not None and not message.error():
                arrived = time.time()
                self._rows.append((decode_risk(message.value()).predicted_at.timestamp(), arrived))

    def stop(self) -> np.ndarray:
        """(event time that was complete, arrival) of each risk, seconds since 1970, [n, 2]."""
        self._stopped.set()
        self._thread.join()
        self._reader.close()
        return np.array(self._rows).reshape(-1, 2)

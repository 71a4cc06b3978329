"""Predictors that are added, killed at full load and removed: no sample is lost and no risk is told twice."""

import json
import multiprocessing
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from integration.test_prediction_stream import read
from pydantic import SecretStr

from forewarn.config.settings import Settings
from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import (
    FailureObserved,
    Observation,
    Recovered,
    Risk,
    Watermark,
    decode_observation,
    decode_risk,
)
from forewarn.risk.scorer import TrendScorer
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.samples import SampleBatch, Series

START_NS = 1_700_000_100 // 900 * 900 * 10**9
STEP_NS = 60 * 10**9
START_CELL = START_NS // STEP_NS
PARTITIONS, ENTITIES, FILLING = 4, 24, 10  # FILLING: signals of an entity that have no limit
SCRAPES = 4  # a cell
HISTORY, LIVE = 330, 1500  # cells; so many live ones at most
AHEAD = 12  # cells that are sent beyond what was scored: fewer than are made up for after a pause
LEAST_SECONDS = 0.02  # a cell
HOLD = 2  # cells of lateness


def values_of(entity: int) -> np.ndarray:
    """Use, its limit and other signals at each scrape, float64 [2 + FILLING, T]. Leaks that begin at another time for
    each entity reach the limit, are mended and begin again."""
    t = np.arange((HISTORY + LIVE) * SCRAPES) / SCRAPES
    rng = np.random.default_rng(entity)
    leaking = np.maximum(t - (HISTORY - 40 + 3 * entity), 0) % 90
    use = np.minimum(3e8 + leaking * 1.2e7 + rng.normal(0, 1e6, len(t)), 1e9)
    return np.vstack([use, np.full(len(t), 1e9), rng.normal(0, 1, (FILLING, len(t)))])


class Load:
    """Messages of a namespace, as many as predictors can take."""

    def __init__(self, address: str, namespace: str, scored: Callable[[], int]) -> None:
        self.sent = 0  # cells
        self.enough = threading.Event()
        self._names, self._scored = [f"{namespace}/svc-{i}" for i in range(ENTITIES)], scored
        self._to, self._values = producer(address), [values_of(i) for i in range(ENTITIES)]

    @property
    def samples(self) -> int:
        return self.sent * SCRAPES * ENTITIES * (2 + FILLING)

    def send(self, cells: int, scrapes: int = 1) -> None:
        """The next cells of every entity, `scrapes` in a message."""
        for first in range(self.sent * SCRAPES, (self.sent + cells) * SCRAPES, scrapes):
            for name, values in zip(self._names, self._values, strict=True):
                times = START_NS + (first + np.arange(scrapes)) * (STEP_NS // SCRAPES)
                body = encode_metrics(name, _series_of(name), times, values[:, first : first + scrapes])
                self._to.produce(topics.METRICS, body, name)
            assert self._to.flush(30) == 0
        self.sent += cells

    def run(self) -> None:
        """Live cells until there are enough."""
        while not self.enough.is_set() and self.sent < HISTORY + LIVE:
            began = time.monotonic()
            self.send(1)
            while START_CELL + self.sent - self._scored() > AHEAD and not self.enough.is_set():
                time.sleep(0.01)
            time.sleep(max(0.0, began + LEAST_SECONDS - time.monotonic()))


def _series_of(entity: str) -> tuple[Series, ...]:
    use = Series(entity, "process.memory.usage", unit="By")
    limit = Series(entity, "process.memory.usage.limit", unit="By")
    return use, limit, *(Series(entity, f"other.{i}") for i in range(FILLING))


class Watermarks:
    """What `observations` says: the cell up to which each partition was scored."""

    def __init__(self, address: str) -> None:
        self.cells = dict.fromkeys(range(PARTITIONS), -1)
        self._reader = Consumer({"bootstrap.servers": address, "group.id": str(uuid.uuid4()), "log_level": 0})
        numbers = self._reader.list_topics(topics.OBSERVATIONS).topics[topics.OBSERVATIONS].partitions
        self._reader.assign([TopicPartition(topics.OBSERVATIONS, number, OFFSET_BEGINNING) for number in numbers])
        threading.Thread(target=self._follow, daemon=True).start()

    def scored(self) -> int:
        """The cell up to which all was scored."""
        return min(self.cells.values())

    def _follow(self) -> None:
        while True:
            message = self._reader.poll(1.0)
            if message is None or message.error():
                continue
            observation = decode_observation(message.value())
            if isinstance(observation, Watermark):
                cell = int(observation.at.timestamp()) * 10**9 // STEP_NS
                self.cells |= {partition: max(cell, self.cells[partition]) for partition in observation.partitions}


def settings_of(address: str) -> Settings:
    return Settings(
        kafka_bootstrap=address, postgres_url=SecretStr("postgresql://nowhere"), step_seconds=60,
        lateness_seconds=60 * HOLD, score_every_steps=1, _env_file=None,
    )  # fmt: skip


def predict(address: str, state: Any, go: Any, stop: Any, features: Path) -> None:
    """A predictor process: state is samples in its windows and partitions that it scored.

    When it is stopped, it writes the features of its windows by entity.
    """
    from forewarn.services.prediction_stream import PredictionStream

    class Watched(PredictionStream):
        """Tells its parent what it holds."""

        def _assess_all(self) -> None:
            super()._assess_all()
            state[0] = sum(engine.windows.tallies["samples"] for engine in self._engines.values())
            state[1] = len({partition for (partition, _), engine in self._engines.items() if engine.scored_cell > 0})
            if stop.is_set() and not self._stop.is_set():
                features.write_text(json.dumps([f for e in self._engines.values() for f in features_of(e)]))
                self.stop()

    go.wait()
    Watched(settings_of(address), TrendScorer).run()


def features_of(engine: RiskEngine) -> list[tuple[str, int, list[float]]]:
    """Entity, cell and features of what the engine scores."""
    seen = engine.windows.snapshot(engine.scored_cell)
    names = [engine.windows.series[int(row)].entity for row in seen.rows]
    return [(n, engine.scored_cell, f) for n, f in zip(names, seen.features.tolist(), strict=True)]


@dataclass
class Predictor:
    process: Any
    state: Any
    go: Any
    stop: Any
    features: Path

    @property
    def holds_all(self) -> bool:
        return bool(self.state[1] == PARTITIONS)


@contextmanager
def predictors(address: str, folder: Path, count: int) -> Iterator[list[Predictor]]:
    """Processes that are started and wait for `go`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forewarn.services.prediction_stream"])  # imported once
    made = []
    for i in range(count):
        state, go, stop = context.Array("q", 2, lock=False), context.Event(), context.Event()
        features = folder / f"{i}.json"
        process = context.Process(target=predict, args=(address, state, go, stop, features), daemon=True)
        process.start()
        made.append(Predictor(process, state, go, stop, features))
    try:
        yield made
    finally:
        for one in made:
            one.process.kill()
            one.process.join()


def wait_for(what: str, done: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@dataclass
class Undisturbed:
    """One engine that reads the whole log in the order of time and scores each cell once it is complete."""

    engine: RiskEngine
    risks: list[Risk]
    observations: list[Observation]

    def take(self, batch: SampleBatch, first_end: int) -> None:
        self.engine.ingest(batch)
        end = self.engine.due()
        if end is not None and end >= first_end:
            risks, observations, _, _ = self.engine.assess(end, TrendScorer())
            self.risks += risks
            self.observations += observations


def test_predictors_come_and_go_and_nothing_is_lost_or_told_twice(own_broker: str, tmp_path: Path) -> None:
    create_topics(own_broker, PARTITIONS)
    watermarks = Watermarks(own_broker)
    load = Load(own_broker, f"n{uuid.uuid4().hex[:6]}", watermarks.scored)
    live = threading.Thread(target=load.run, daemon=True)
    with predictors(own_broker, tmp_path, 3) as (first, second, third):
        load.send(HISTORY - 1, scrapes=(HISTORY - 1) * SCRAPES)
        load.send(1)
        first.go.set()
        wait_for("the windows of the first", lambda: first.holds_all and first.state[0] == load.samples)
        first_end = watermarks_first(own_broker)
        live.start()
        second.go.set()
        wait_for("two that share", lambda: 0 < second.state[1] < PARTITIONS)
        assert live.is_alive()
        first.process.kill()  # SIGKILL, while messages come
        wait_for("the second alone", lambda: second.holds_all)
        third.go.set()
        wait_for("two that share again", lambda: 0 < third.state[1] < PARTITIONS)
        second.stop.set()  # leaves as it should
        wait_for("the third alone", lambda: third.holds_all)
        at = load.sent
        wait_for("some more", lambda: load.sent >= at + AHEAD)
        assert live.is_alive()
        load.enough.set()
        live.join()
        wait_for("all windows", lambda: third.state[0] == load.samples and watermarks.scored() == last_end(load))
        third.stop.set()
        third.process.join(60)
    check(own_broker, load, first_end, json.loads(third.features.read_text()))


def watermarks_first(address: str) -> int:
    """The first cell that was scored, once that is told."""
    cells: list[int] = []

    def told() -> bool:
        seen = [decode_observation(value) for value in read(address, topics.OBSERVATIONS)]
        cells[:] = [int(o.at.timestamp()) * 10**9 // STEP_NS for o in seen if isinstance(o, Watermark)]
        return bool(cells)

    wait_for("the first watermark", told)
    return min(cells)


def last_end(load: Load) -> int:
    return START_CELL + load.sent - HOLD


def check(address: str, load: Load, first_end: int, features: list[Any]) -> None:
    """Compare with one engine that nobody disturbed: all that it tells is told, once, and nothing else."""
    expected = Undisturbed(RiskEngine(load._names[0].split("/")[0], 60, 60 * HOLD, 1), [], [])
    for batch in sorted((decode_metrics(value) for value in read(address, topics.METRICS)), key=lambda b: b.times[-1]):
        expected.take(batch, first_end)
    told = [decode_risk(value) for value in read(address, topics.RISKS)]
    seen = [decode_observation(value) for value in read(address, topics.OBSERVATIONS)]
    twice = [key for key, times in Counter((r.episode, r.revision) for r in told).items() if times > 1]
    print(
        f"{load.samples} samples in {load.sent} cells, {expected.engine.windows.tallies['samples']} on the log; "
        f"{len(told)} risks told, {len(twice)} of them twice, {len(expected.risks)} expected; "
        f"{len(_events(seen))} failures and recoveries, {len(_events(expected.observations))} expected"
    )
    assert expected.engine.windows.tallies["samples"] == load.samples
    assert twice == []
    assert len({risk.entity for risk in expected.risks}) >= ENTITIES // 3
    assert _differences(_told(told), _told(expected.risks)) == ([], [])
    assert _differences(_events(seen), _events(expected.observations)) == ([], [])
    assert len(_events(seen)) > 3
    for (name, cell, ours), (also, at, theirs) in zip(
        sorted(features), sorted(features_of(expected.engine)), strict=True
    ):
        assert (name, cell) == (also, at)
        np.testing.assert_array_equal(np.array(ours, float), np.array(theirs, float))


def _differences(ours: list[Any], theirs: list[Any]) -> tuple[list[Any], list[Any]]:
    """What is told too much, and what is missing."""
    return sorted((Counter(ours) - Counter(theirs)).elements()), sorted((Counter(theirs) - Counter(ours)).elements())


def _told(risks: list[Risk]) -> list[tuple[Any, ...]]:
    return sorted((r.entity, r.predicted_at, r.state, r.revision, r.episode, r.probability) for r in risks)


def _events(observations: Any) -> list[tuple[Any, ...]]:
    events = [o for o in observations if isinstance(o, FailureObserved | Recovered)]
    return sorted((o.entity, o.signal, type(o).__name__, o.at) for o in events)

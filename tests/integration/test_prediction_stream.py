"""The stream of predictions on a real broker: risks come, garbage does not stop it, a restart repeats nothing."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags
from pydantic import SecretStr

from forewarn.config.settings import Settings
from forewarn.risk.records import (
    Abstained,
    AnomalyObserved,
    FailureObserved,
    Risk,
    Watermark,
    decode_observation,
    decode_risk,
)
from forewarn.risk.scorer import TrendScorer
from forewarn.services.prediction_stream import PredictionStream
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import SampleBatch, Series

START_NS = 1_700_000_100 // 900 * 900 * 10**9
STEP_NS = 60 * 10**9


def memory_leak(entity: str, steps: int) -> np.ndarray:
    """A quiet five hours, then a leak that reaches the limit after 350 steps; with its limit, float64 [2, T]."""
    t = np.arange(steps)
    noise = np.random.default_rng(len(entity)).normal(0, 2e6, steps)
    return np.stack([np.minimum(3e8 + np.maximum(t - 300, 0) * 2e6 + noise, 1e9), np.full(steps, 1e9)])


def send(address: str, entity: str, values: np.ndarray, first: int, chunk: int = 5) -> None:
    """Messages of a few steps each, as a live source sends them."""
    series = (
        Series(entity, "process.memory.usage", unit="By"),
        Series(entity, "process.memory.usage.limit", unit="By"),
    )
    to = producer(address)
    for i in range(0, values.shape[1], chunk):
        part = values[:, i : i + chunk]
        times = START_NS + (first + i + np.arange(part.shape[1])) * STEP_NS
        to.produce(topics.METRICS, key=entity.encode(), value=encode_metrics(entity, series, times, part))
        to.flush(10)
        time.sleep(0.02)


def read(address: str, topic: str) -> list[bytes]:
    """Every message of a topic."""
    reader = Consumer({"bootstrap.servers": address, "group.id": str(uuid.uuid4()), "enable.partition.eof": True})
    numbers = reader.list_topics(topic).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
    found, unread = [], len(numbers)
    while unread:
        message = reader.poll(10)
        assert message is not None, f"{topic} was not read to its end"
        if message.error():
            unread -= 1
        else:
            found.append(message.value())
    reader.close()
    return found


@contextmanager
def running(settings: Settings) -> Iterator[PredictionStream]:
    stream = PredictionStream(settings, TrendScorer)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    assert stream.ready.wait(90), "no partitions were assigned"
    try:
        yield stream
    finally:
        stream.stop()
        thread.join(20)


def wait_for(what: str, done: object, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.fixture
def settings(broker: str) -> Settings:
    create_topics(broker, 2)
    return Settings(
        kafka_bootstrap=broker, postgres_url=SecretStr("postgresql://nowhere"), lateness_seconds=0, _env_file=None
    )


def test_a_leak_is_told_over_the_log_and_a_restart_repeats_nothing(settings: Settings, broker: str) -> None:
    namespace = f"shop{uuid.uuid4().hex[:6]}"
    entity = f"{namespace}/api"
    values = memory_leak(entity, 700)
    garbage = producer(broker)
    garbage.produce(topics.METRICS, key=entity.encode(), value=b"\xff\xff not a protobuf")
    garbage.flush(10)

    def risks() -> list[Risk]:
        return [r for r in map(decode_risk, read(broker, topics.RISKS)) if r.entity == entity]

    def clock() -> float:
        told = map(decode_observation, read(broker, topics.OBSERVATIONS))
        return max(
            (o.at.timestamp() * 1e9 for o in told if isinstance(o, Watermark) and o.namespace == namespace), default=0
        )

    with running(settings) as stream:
        send(broker, entity, values[:, :20], 0)  # the first scoring compiles: what comes meanwhile would be one cell
        wait_for("the first scoring", lambda: clock() > START_NS)
        send(broker, entity, values[:, 20:560], 20)
        wait_for("a risk", lambda: stream.counters["risks_total"] > 0)
        assert stream.counters["dead_letters_total"] == 1
        wait_for("the end of the log", lambda: clock() >= START_NS + 560 * STEP_NS)
    before = risks()
    assert before[0].state == "open"

    with running(settings) as stream:
        wait_for("the windows", lambda: stream.counters["samples_total"] >= 2 * 560)
        send(broker, entity, values[:, 560:], 560)
        wait_for("the end of the log", lambda: stream.counters["samples_total"] >= 2 * 700)
        wait_for("the last scoring", lambda: clock() >= START_NS + 700 * STEP_NS)
    after = risks()
    assert len({r.risk_id for r in after}) == len(after)
    assert {r.episode for r in after} == {before[0].episode}
    observations = [decode_observation(o) for o in read(broker, topics.OBSERVATIONS)]
    failures = [o for o in observations if isinstance(o, FailureObserved) and o.entity == entity]
    assert len(failures) == 1
    assert failures[0].at > before[0].predicted_at
    assert clock() == START_NS + 700 * STEP_NS
    assert any(b"not a protobuf" in letter for letter in read(broker, topics.DEAD_LETTERS))


def test_a_series_that_ends_is_abstained_from_and_what_is_late_is_counted(settings: Settings, broker: str) -> None:
    entity = f"shop{uuid.uuid4().hex[:6]}/api"
    values = memory_leak(entity, 200)

    def abstained() -> list[Abstained]:
        found = map(decode_observation, read(broker, topics.OBSERVATIONS))
        return [o for o in found if isinstance(o, Abstained) and o.entity == entity and o.reason]

    with running(settings) as stream:
        send(broker, entity, values[:, :120], 0, chunk=30)
        wait_for("the scoring", lambda: any(x.series[0].entity == entity for x in stream.latest.values() if x.series))
        known = stream.counters["late_total"]
        marker = SampleBatch(
            (Series(entity, "process.memory.usage", unit="By"),),
            np.zeros(1, np.int32), np.array([START_NS + 120 * STEP_NS]), np.array([np.nan]),
        )  # fmt: skip
        to = producer(broker)
        to.produce(topics.METRICS, key=entity.encode(), value=stale(marker))
        to.flush(10)
        wait_for("the staleness marker", lambda: stream.counters.get("stale_total", 0) > 0)
        send(broker, entity, np.stack([np.full(3, np.nan), np.full(3, 1e9)]), 121, chunk=3)  # the limit is told on
        wait_for("the abstention", lambda: any("no data" in o.reason for o in abstained()))
        send(broker, entity, values[:, :1], 10)  # more than 64 cells old
        wait_for("the late samples", lambda: stream.counters["late_total"] == known + 2)


def stale(batch: SampleBatch) -> bytes:
    """A request whose points say that their series have ended."""
    request = ExportMetricsServiceRequest()
    request.ParseFromString(encode_metrics(batch.series[0].entity, batch.series, batch.times, np.zeros((1, 1))))
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        metric.gauge.data_points[0].flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    return request.SerializeToString()


def test_an_anomaly_is_told_once_and_its_end_after_a_restart(settings: Settings, broker: str) -> None:
    entity = f"shop{uuid.uuid4().hex[:6]}/api"
    values = memory_leak(entity, 300)[:, np.arange(590) % 300]  # it ends when it was calm long enough, by any turn
    values[0, 400:420] += 2e8

    def told() -> list[AnomalyObserved]:
        records = map(decode_observation, read(broker, topics.OBSERVATIONS))
        return [o for o in records if isinstance(o, AnomalyObserved) and o.entity == entity]

    with running(settings) as stream:
        send(broker, entity, values[:, :405], 0)
        wait_for("an anomaly", lambda: stream.counters["anomalies_total"] > 0)
        assert stream.counters["entities_watched"] == 1
    (opened,) = told()
    assert (opened.state, opened.drivers[0].signal) == ("open", "process.memory.usage")
    assert 400 < (opened.at.timestamp() * 1e9 - START_NS) / STEP_NS <= 405

    with running(settings) as stream:
        wait_for("the windows", lambda: stream.counters["samples_total"] >= 2 * 405)
        send(broker, entity, values[:, 405:], 405)
        wait_for("the end of the anomaly", lambda: len(told()) > 1)
    assert [(a.state, a.since) for a in told()] == [("open", opened.since), ("ended", opened.since)]


def test_a_budget_in_other_words_is_refused_at_the_start(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"FOREWARN_FALSE_ALARM_BUDGET.*write it like"):
        PredictionStream(settings.model_copy(update={"false_alarm_budget": "hardly any"}), TrendScorer)
    PredictionStream(settings.model_copy(update={"false_alarm_budget": "none"}), TrendScorer)

"""The connector as a process: real broker, real PostgreSQL; killed and started anew it loses and changes nothing."""

import signal
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from processes import service, wait_until

from forewarn.stores.log import create_topics, producer
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics
from forewarn.telemetry.activity import ActivityEvent, encode_activity
from forewarn.telemetry.connectors.kinds import LOGS
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import SignalStream
from forewarn.telemetry.otlp_encode import encode_logs, encode_spans
from forewarn.telemetry.otlp_logs import decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics

START = 1_700_000_000
MODULE = "forewarn.services.connector"
ENTITIES = [f"shop/service{k}" for k in range(6)]
LEARNING = 60.0

Signals = dict[tuple[str, str, int], set[float]]  # (entity, series, time) -> the values that were told


@pytest.fixture
def topics_of(own_broker: str) -> str:
    """A broker with empty topics."""
    create_topics(own_broker, 2)
    return own_broker


def log_messages(first: int, last: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """One message an entity for each five seconds: lines that vary, errors, now and then a template never seen."""
    rng = np.random.default_rng([seed, first])
    for second in range(first, last, 5):
        for entity in ENTITIES:
            count = int(rng.integers(1, 8))
            times = [int((START + second + 5 * j / count) * 1e9) for j in range(count)]
            verb = "".join(rng.choice(list("abc"), 2))
            bodies = [f"{verb} item {rng.integers(999)} of {rng.bytes(6).hex()}" for _ in range(count)]
            yield entity, encode_logs(entity, times, ["ERROR" if rng.random() < 0.1 else "INFO"] * count, bodies)


def send(address: str, topic: str, messages: Iterator[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    to, sent = producer(address), list(messages)
    for key, value in sent:
        to.produce(topic, key=key.encode(), value=value)
    assert to.flush(20) == 0
    return sent


def told(address: str) -> Signals:
    """Everything on otlp_metrics."""
    ends = {k: n for k, n in end_offsets(address, [topics.METRICS]).items() if n}
    reader = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False})
    reader.assign([TopicPartition(t, p, 0) for t, p in ends])
    found: Signals = {}
    left = sum(ends.values())
    while left:
        message = reader.poll(10)
        assert message is not None and message.error() is None
        left -= 1
        batch = decode_metrics(message.value())
        for index, time, value in zip(batch.index, batch.times, batch.values, strict=True):
            series = batch.series[index]
            found.setdefault((series.entity, series.name, int(time)), set()).add(float(value))
    reader.close()
    return found


def settings(address: str, url: str) -> dict[str, str]:
    return {"kafka_bootstrap": address, "postgres_url": url, "connector_learning_seconds": str(LEARNING)}


def offsets_reach_the_end(url: str, address: str, topic: str = topics.LOGS) -> bool:
    ends = {p: n for (_, p), n in end_offsets(address, [topic]).items() if n}
    with psycopg.connect(url) as connection:
        query = "select partition, next_offset from consumer_offsets where topic = %s and consumer_group = 'connector'"
        stored = dict(connection.execute(query, (topic,)).fetchall())
    return all(stored.get(p, 0) >= n for p, n in ends.items())


def expected_of(sent: list[tuple[str, bytes]]) -> Signals:
    """What one stream, never killed, tells of messages that one after another are in one partition each."""
    streams: dict[str, SignalStream] = {}  # type: ignore[type-arg]
    found: Signals = {}
    for key, value in sent:
        stream = streams.setdefault(key, SignalStream(LOGS, Options(bucket=60, learning=LEARNING)))
        for one in stream.take(decode_logs(value)):
            for series, row in zip(one.series, one.values, strict=True):
                for time, v in zip(one.times, row, strict=True):
                    if v == v:
                        found.setdefault((one.entity, series.name, int(time)), set()).add(float(v))
    return found


def test_when_one_of_two_is_killed_nothing_is_lost_or_changed(topics_of: str, postgres_url: str) -> None:
    sent = send(topics_of, topics.LOGS, log_messages(0, 300))
    with service(MODULE, **settings(topics_of, postgres_url)) as first:
        wait_until(lambda: offsets_reach_the_end(postgres_url, topics_of), 60, "the first checkpoint")
        with service(MODULE, **settings(topics_of, postgres_url)):
            wait_until(lambda: beating(postgres_url) == 2, 60, "two heartbeats")
            before = len(told(topics_of))
            sent += send(topics_of, topics.LOGS, log_messages(300, 900))
            wait_until(lambda: len(told(topics_of)) > before, 60, "signals after the checkpoint")
            first.send_signal(signal.SIGKILL)
            first.wait()
            sent += send(topics_of, topics.LOGS, log_messages(900, 1500))
            wait_until(lambda: offsets_reach_the_end(postgres_url, topics_of), 60, "the checkpoint of the other")
    found = told(topics_of)
    assert {key: values for key, values in found.items() if len(values) > 1} == {}, "a repetition told another value"
    want = expected_of(sent)
    assert len(want) > 1000
    assert {k: v for k, v in want.items() if found.get(k) != v} == {}


def beating(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("select count(*) from service_status where service = 'connector'").fetchone()
    return int(found[0]) if found else 0


def test_spans_and_activity_become_signals_and_templates_are_kept(topics_of: str, postgres_url: str) -> None:
    from datetime import UTC, datetime

    at = [int((START + s) * 1e9) for s in range(0, 600, 10)]
    n = len(at)
    spans = encode_spans(
        "shop/api", [b"t" * 16] * n, [k.to_bytes(8, "big") for k in range(1, n + 1)], [b""] * n, ["GET /"] * n,
        ["server"] * n, at, [t + 250_000_000 for t in at], [k % 2 == 0 for k in range(n)],
    )  # fmt: skip
    events = [
        ActivityEvent("shop/web", "view", f"u{k}", datetime.fromtimestamp(START + 5 * k, UTC)) for k in range(100)
    ]
    send(topics_of, topics.LOGS, log_messages(0, 300))
    send(topics_of, topics.SPANS, iter([("shop/api", spans), ("shop/api", b"\x0a\xff not protobuf")]))
    send(topics_of, topics.ACTIVITY, iter([("shop/web", encode_activity(events))]))
    with service(MODULE, **settings(topics_of, postgres_url)):
        for topic in (topics.LOGS, topics.SPANS, topics.ACTIVITY):
            wait_until(lambda topic=topic: offsets_reach_the_end(postgres_url, topics_of, topic), 60, topic)
    found = {(entity, name) for entity, name, _ in told(topics_of)}
    assert {("shop/api", "traces.service.duration.p99"), ("shop/web", "activity.users.active")} <= found
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("select entity, template, count, first_seen from log_templates").fetchall()
        counters = connection.execute("select counters from service_status where service = 'connector'").fetchone()
    assert {row[0] for row in rows} == set(ENTITIES)
    assert all("item <NUM> of <HEX>" in row[1] or "item <NUM> of" in row[1] for row in rows)
    assert counters is not None and counters[0]["unreadable_total"] == 1 and counters[0]["samples_total"] > 100

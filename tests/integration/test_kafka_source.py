"""Topics that others write, with the senders that people have: rsyslog's omkafka, kcat, and OTLP with any key."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from integration.processes import service, wait_until
from integration.test_doors_in import archiver_thread, count, dead_letters
from servers import free_port, running_broker, wait_for_port

from forewarn.config.settings import Settings
from forewarn.services.kafka_source.routes import routes
from forewarn.services.kafka_source.service import KafkaSource
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.samples import Series

AWAY = "postgresql://nobody@127.0.0.1:1/none"  # the source needs no database
NOON = 1_767_614_400 * 10**9  # 2026-01-05 12:00 UTC
TEMPLATES = {
    "listed": """template(name="forewarn" type="list" option.jsonf="on") {
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="programname" name="programname" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}""",
    "jsonmesg": 'template(name="forewarn" type="list") { property(name="jsonmesg") }',
}


@dataclass
class Log:
    """A broker whose foreign topics a source reads."""

    broker: str

    def read(self, topic: str) -> list[tuple[str, int, bytes]]:
        """Key, partition and value of what is on a topic."""
        reader = Consumer({"bootstrap.servers": self.broker, "group.id": "test", "enable.auto.commit": False})
        reader.assign([TopicPartition(topic, p, 0) for p in range(4)])
        found = []
        while (message := reader.poll(0.7)) is not None:
            if not message.error():
                found.append((message.key().decode(), message.partition(), message.value()))
        reader.close()
        return found

    def logs(self, entity: str) -> list[LogRecord]:
        return [record for key, _, value in self.read(topics.LOGS) if key == entity for record in decode_logs(value)]


def foreign_topics(broker: str, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.create_topics([NewTopic(name, 3, 1) for name in names]).values():
        future.result(20)


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    """Address of a broker that Debian's librdkafka (2.0) can speak to, which Tansu's is not: librdkafka's own."""
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    for topic in ("syslog", "fluentbit"):  # it makes a topic when it is asked about
        cluster.list_topics(topic, timeout=10)
    yield f"{broker.host}:{broker.port}"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with running_broker(free_port()) as address:
        create_topics(address, 4)
        yield address


@pytest.fixture(scope="module")
def elsewhere(broker: str, foreign: str) -> Iterator[Log]:
    """The log, with logs in JSON from another broker."""
    settings = {"kafka_bootstrap": broker, "kafka_source_brokers": foreign, "kafka_log_topics": "syslog, fluentbit"}
    with service("forewarn.services.kafka_source", postgres_url=AWAY, **settings):
        yield Log(broker)


@pytest.fixture(scope="module")
def log(broker: str) -> Iterator[Log]:
    """The log, with OTLP from other topics of its own broker."""
    foreign_topics(broker, "spread", "spread-json")
    known = "spread=metrics,spread-json=logs/otlp_json"
    with service("forewarn.services.kafka_source", kafka_bootstrap=broker, postgres_url=AWAY, kafka_otlp_topics=known):
        yield Log(broker)


def test_the_documented_template_is_the_one_that_is_tested() -> None:
    page = Path(__file__).parents[2] / "docs" / "data-formats.md"
    assert TEMPLATES["listed"] in page.read_text()


@pytest.mark.parametrize("template", TEMPLATES)
def test_rsyslog_with_omkafka(elsewhere: Log, foreign: str, tmp_path: Path, template: str) -> None:
    daemon = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    if daemon is None or not list(Path("/usr/lib").glob("**/rsyslog/omkafka.so")):
        pytest.skip("rsyslog and rsyslog-kafka are not installed (apt-get install)")
    port, program = free_port(), f"sshd-{template}"
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f"""global(workDirectory="{tmp_path}")
module(load="imtcp")
module(load="omkafka")
{TEMPLATES[template]}
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="omkafka" broker=["{foreign}"] topic="syslog" template="forewarn")
"""
    )
    process = subprocess.Popen([daemon, "-n", "-f", str(config), "-i", str(tmp_path / "pid")])
    try:
        wait_for_port(port)
        with socket.create_connection(("127.0.0.1", port), 5) as to:
            to.sendall(f'<35>1 2026-01-05T12:00:00.250Z web-1 {program} 42 - - Failed "password" for root\n'.encode())
        wait_until(lambda: elsewhere.logs(program), 30, "the line of rsyslog")
    finally:
        process.terminate()
        process.wait(10)
    (record,) = elsewhere.logs(program)
    assert (record.body, record.severity, record.time) == ('Failed "password" for root', "ERROR", NOON + 250_000_000)
    assert record.attributes["procid"] == "42"


def test_kcat_writes_lines_of_fluent_bit(elsewhere: Log, foreign: str) -> None:
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("kcat is not installed (apt-get install)")
    record = {"@timestamp": 1767614400.5, "log": "GET / 500", "level": "warn"}
    pod = {"kubernetes": {"namespace_name": "kcat", "pod_name": "api-1", "labels": {"app": "api"}}}
    lines = [json.dumps(record | pod), "no JSON at all", json.dumps({"log": "timeless", **pod})]
    command = [kcat, "-P", "-b", foreign, "-t", "fluentbit"]
    subprocess.run(command, input="\n".join(lines).encode(), check=True, timeout=30)
    wait_until(lambda: len(elsewhere.logs("kcat/api")) == 2, 30, "the lines of kcat")
    found = {record.body: record for record in elsewhere.logs("kcat/api")}
    assert (found["GET / 500"].severity, found["GET / 500"].time) == ("WARN", NOON + 500_000_000)
    assert abs(found["timeless"].time - time.time_ns()) < 300 * 10**9  # when it came to the broker
    wait_until(
        lambda: b"no JSON at all" in [value for _, value in dead_letters(elsewhere.broker)], what="the dead letter"
    )
    (headers,) = (headers for headers, value in dead_letters(elsewhere.broker) if value == b"no JSON at all")
    assert headers["topic"] == b"fluentbit"
    assert headers["offset"].isdigit()
    assert b"not JSON" in headers["reason"]


def test_otlp_with_any_key_and_several_entities_comes_together_by_entity(log: Log) -> None:
    """A Collector writes batches of many resources, without a key: an entity is then spread over partitions."""
    to = Producer({"bootstrap.servers": log.broker})
    entities = [f"spread/{i}" for i in range(6)]
    for n in range(12):
        series = [Series(e, f"signal.{n % 2}") for e in entities]
        parts = [encode_metrics(s.entity, [s], np.array([NOON + n * 10**9]), np.full((1, 1), float(n))) for s in series]
        to.produce("spread", b"".join(parts), partition=n % 3)
    body = {"resourceLogs": [
        {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]},
         "scopeLogs": [{"logRecords": [{"timeUnixNano": str(NOON), "body": {"stringValue": f"{name}@example.org"}}]}]}
        for name in ("json-a", "json-b")
    ]}  # fmt: skip
    to.produce("spread-json", json.dumps(body).encode())
    assert to.flush(20) == 0

    def read() -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for key, partition, value in log.read(topics.METRICS):
            batch = decode_metrics(value)
            assert {s.entity for s in batch.series} == {key}
            found.setdefault(key, []).extend((partition, float(v)) for v in batch.values)
        return found

    wait_until(lambda: sum(map(len, read().values())) == 72, 30, "the samples")
    for entity, rows in read().items():
        assert entity in entities
        assert len({partition for partition, _ in rows}) == 1
        assert sorted(value for _, value in rows) == [float(n) for n in range(12)]
    wait_until(
        lambda: [log.logs(name)[0].body for name in ("json-a", "json-b") if log.logs(name)] == ["[redacted:email]"] * 2
    )


def test_a_source_that_is_killed_loses_nothing(own_broker: str) -> None:
    create_topics(own_broker, 4)
    foreign_topics(own_broker, "app")
    to, log = Producer({"bootstrap.servers": own_broker}), Log(own_broker)
    environment = {
        "kafka_bootstrap": own_broker, "kafka_log_topics": "app", "postgres_url": AWAY,
    }  # fmt: skip

    def produce(first: int, count: int) -> None:
        for n in range(first, first + count):
            to.produce("app", json.dumps({"service": "app", "message": str(n), "time": NOON}).encode())
        assert to.flush(20) == 0

    produce(0, 1000)
    with service("forewarn.services.kafka_source", **environment) as first:
        wait_until(lambda: log.read(topics.LOGS), 30, "the first lines")
        produce(1000, 1000)
        first.kill()
        first.wait()
    with service("forewarn.services.kafka_source", **environment):
        wait_until(lambda: len({r.body for r in log.logs("app")}) == 2000, 40, "all lines")


def test_a_broker_that_forgot_all_gets_its_topics_again_and_what_was_under_way(own_broker: str) -> None:
    foreign_topics(own_broker, "app")
    to, port = Producer({"bootstrap.servers": own_broker}), free_port()
    settings = {"kafka_source_brokers": own_broker, "kafka_log_topics": "app", "postgres_url": AWAY}

    def say(text: str) -> None:
        to.produce("app", json.dumps({"service": "app", "message": text, "time": NOON}).encode())
        assert to.flush(20) == 0

    with contextlib.ExitStack() as stack:
        with running_broker(port) as address:
            create_topics(address, 4)
            log = Log(address)
            stack.enter_context(service("forewarn.services.kafka_source", kafka_bootstrap=address, **settings))
            say("before")
            wait_until(lambda: log.logs("app"), 30, "the first line")
        say("meanwhile")
        time.sleep(2)
        with running_broker(port):
            wait_until(lambda: topics.LOGS in AdminClient({"bootstrap.servers": address}).list_topics().topics, 60)
            say("after")
            wait_until(lambda: len(log.logs("app")) >= 2, 60, "the other lines")
            assert [record.body for record in log.logs("app")] == ["meanwhile", "after"]


def test_a_source_whose_queue_is_full_while_the_broker_is_away_can_be_stopped() -> None:
    stop, nobody = threading.Event(), "127.0.0.1:9"
    settings = Settings(kafka_bootstrap=nobody, kafka_log_topics="app")
    source = KafkaSource(settings, routes(settings), stop, {})
    source._producer = producer(nobody, 0, **{"queue.buffering.max.messages": 2})
    delivering = threading.Thread(target=source._deliver, args=([(topics.LOGS, "app", b"x", [])] * 5,), daemon=True)
    delivering.start()
    time.sleep(0.5)
    assert delivering.is_alive()
    stop.set()
    delivering.join(30)
    assert not delivering.is_alive()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "no topic to read"),
        ({"FOREWARN_KAFKA_OTLP_TOPICS": "spans=traces,x=rumours"}, "'x=rumours' is not understood"),
        ({"FOREWARN_KAFKA_LOG_TOPICS": "otlp_logs"}, "is a topic of Forewarn itself"),
        ({"FOREWARN_KAFKA_LOG_TOPICS": "a", "FOREWARN_KAFKA_OTLP_TOPICS": "a=logs"}, "named twice"),
        ({"FOREWARN_KAFKA_LOG_TOPICS": "a", "FOREWARN_SCRUB": "/none/scrub.yaml"}, "scrub.yaml"),
    ],
)
def test_settings_that_make_no_sense_are_said(
    settings: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forewarn.services.kafka_source.__main__ import main

    for name in ("FOREWARN_KAFKA_OTLP_TOPICS", "FOREWARN_KAFKA_LOG_TOPICS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("forewarn.services.kafka_source.__main__.stop_event", lambda: None)  # not of this process
    with pytest.raises(SystemExit, match=reason):
        main()


def test_a_collector_may_write_to_our_topics_itself(own_broker: str, postgres_url: str) -> None:
    """Without a key, many entities in a message: all of it is archived under the right entity, what is derived too."""
    create_topics(own_broker, 4)
    to, entities = Producer({"bootstrap.servers": own_broker}), [f"direct/{i}" for i in range(3)]
    for n in range(4):
        series = [Series(e, f"node_memory_{name}_bytes") for e in entities for name in ("MemTotal", "MemAvailable")]
        values = np.tile([[100.0], [40.0]], (3, 1))
        parts = [
            encode_metrics(s.entity, [s], np.array([NOON + n]), v[None]) for s, v in zip(series, values, strict=True)
        ]
        to.produce(topics.METRICS, b"".join(parts), b"any" if n % 2 else None, partition=n)
    assert to.flush(20) == 0
    with archiver_thread(own_broker, postgres_url):
        wait_until(lambda: count(postgres_url, "metric_samples") == 4 * 9, what="the archive")
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("select entity, signal from metric_series where signal like 'node_memory_used%'")
        assert {entity for entity, _ in found.fetchall()} == set(entities)

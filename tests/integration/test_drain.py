"""Asked to stop where the broker's memory goes with it, an archiver reads the log to its end first."""

import threading

import numpy as np
import psycopg
from confluent_kafka import Producer
from integration.processes import wait_until
from pydantic import SecretStr

from forewarn.config.settings import Settings
from forewarn.services.archiver.service import Archiver
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import Series

ENTITY, MESSAGES = "drain/api", 3000
_STORED = b"select count(distinct value), count(*) from metric_samples"


def test_what_was_acknowledged_is_archived_before_the_end(own_broker: str, postgres_url: str) -> None:
    create_topics(own_broker, 2)
    settings = Settings(
        kafka_bootstrap=own_broker, postgres_url=SecretStr(postgres_url), drain_seconds=60, _env_file=None
    )  # fmt: skip
    to, stop, counters = producer(own_broker), threading.Event(), dict[str, float]()
    archiver = threading.Thread(target=Archiver(settings, stop, counters).run, daemon=True)
    archiver.start()
    send(to, range(1))
    wait_until(lambda: counters["samples_total"] == 1, 60, "the first sample")
    send(to, range(1, MESSAGES))
    stop.set()
    archiver.join(90)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(_STORED).fetchone() == (MESSAGES, MESSAGES)


def send(to: Producer, numbers: range) -> None:
    for number in numbers:
        times = np.array([(1_767_614_400 + number) * 10**9])
        to.produce(topics.METRICS, encode_metrics(ENTITY, [Series(ENTITY, "n")], times, np.array([[number]])), ENTITY)
    assert to.flush(30) == 0

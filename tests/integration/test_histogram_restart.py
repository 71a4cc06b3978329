"""A histogram's quantiles need its last point: an archiver that is started again has it, and the archive no hole."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psycopg
from integration.processes import wait_until
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from pydantic import SecretStr
from unit.telemetry.test_histograms import explicit

from forewarn.config.settings import Settings
from forewarn.services.archiver.service import Archiver
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics

NOON = 1_767_614_400 * 10**9
MINUTE = 60 * 10**9
_P50 = """
select (extract(epoch from m.time) * 1e9)::int8 from metric_samples m join metric_series s using (series_id)
where s.signal like '%.p50' order by m.time
"""


@contextmanager
def archiving(settings: Settings) -> Iterator[dict[str, float]]:
    stop, counters = threading.Event(), dict[str, float]()
    thread = threading.Thread(target=Archiver(settings, stop, counters).run, daemon=True)
    thread.start()
    try:
        yield counters
    finally:
        stop.set()
        thread.join(30)


def test_the_first_point_after_a_restart_has_its_quantiles(own_broker: str, postgres_url: str) -> None:
    create_topics(own_broker, 1)
    settings = Settings(kafka_bootstrap=own_broker, postgres_url=SecretStr(postgres_url), _env_file=None)
    values = np.random.default_rng(0).exponential(0.2, 400)
    to = producer(own_broker)

    def told() -> list[int]:
        with psycopg.connect(postgres_url) as connection:
            return [time for (time,) in connection.execute(_P50).fetchall()]

    def send(*minutes: int) -> None:
        for minute in minutes:
            point = explicit(values[: 100 * minute], NOON + minute * MINUTE, pb.AGGREGATION_TEMPORALITY_CUMULATIVE)
            to.produce(topics.METRICS, key=b"shop/api", value=point)
        assert to.flush(10) == 0

    with archiving(settings):
        send(1, 2)
        wait_until(lambda: told() == [NOON + 2 * MINUTE], 60, "the quantiles of the second point")
    with archiving(settings) as counters:
        send(3)
        wait_until(lambda: len(told()) > 1, 60, "the quantiles of the point after the restart")
    assert told() == [NOON + 2 * MINUTE, NOON + 3 * MINUTE]
    assert counters["messages_total"] == 1  # what was read again was not stored again

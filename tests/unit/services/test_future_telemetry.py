"""Telemetry of the future is refused at every door: one such sample would stop the scoring of its namespace."""

import time

import cramjam
import httpx
import numpy as np
import pytest
from gateway_in_process import Broker
from gateway_in_process import post as post_to

from forewarn.config.settings import Settings
from forewarn.services.kafka_source.routes import routes
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest
from forewarn.telemetry.samples import Series

_DAY = 86_400


def post(path: str, body: bytes, broker: Broker, **settings: object) -> httpx.Response:
    headers = {"content-type": "application/x-protobuf"} | ({"content-encoding": "snappy"} if "write" in path else {})
    return post_to(path, body, headers, broker, **settings)


def otlp(*ahead_seconds: float) -> bytes:
    """One sample of `shop/api` for each."""
    now = time.time_ns()
    times = [np.array([now + int(seconds * 1e9)], np.int64) for seconds in ahead_seconds]
    series, value = [Series("shop/api", "queue.length")], np.ones((1, 1))
    return b"".join(encode_metrics("shop/api", series, time_ns, value) for time_ns in times)


def remote_write(ahead_seconds: float) -> bytes:
    labels = [Label(name=name, value=value).SerializeToString() for name, value in (("__name__", "x"), ("job", "api"))]
    sample = Sample(value=1.0, timestamp=int((time.time() + ahead_seconds) * 1000))
    body = WriteRequest(timeseries=[TimeSeries(labels=labels, samples=[sample])]).SerializeToString()
    return bytes(cramjam.snappy.compress_raw(body))


def test_the_sender_is_told_and_what_is_right_goes_on() -> None:
    broker = Broker()
    answer = post("/v1/metrics", otlp(0, _DAY), broker)
    assert answer.status_code == 200 and b"'shop/api'" in answer.content and len(broker.taken) == 1
    assert b"FOREWARN_MAX_AHEAD_SECONDS" in answer.content
    assert post("/v1/metrics", otlp(_DAY), broker).status_code == 400
    assert len(broker.taken) == 1


def test_a_clock_that_is_a_little_fast_is_borne_and_simulations_may_run_ahead() -> None:
    broker = Broker()
    assert post("/v1/metrics", otlp(300), broker).content == b""
    assert post("/v1/metrics", otlp(_DAY), broker, max_ahead_seconds=0).content == b""
    assert len(broker.taken) == 2


def test_prometheus_is_told_not_to_send_it_again() -> None:
    broker = Broker()
    answer = post("/api/v1/write", remote_write(_DAY), broker)
    assert answer.status_code == 400 and "is the clock of Prometheus right?" in answer.text
    assert post("/api/v1/write", remote_write(-60), broker).status_code == 204
    assert len(broker.taken) == 1


def test_a_foreign_topic_is_looked_at_in_the_same_way() -> None:
    settings = Settings(_env_file=None, kafka_otlp_topics="theirs=metrics", kafka_source_brokers="there:9092")
    convert = routes(settings)["theirs"]
    converted = convert(otlp(0, _DAY), time.time_ns())
    assert len(converted.messages) == 1 and "is the sender's clock right?" in converted.rejected[0][1]
    with pytest.raises(TelemetryError, match="is the sender's clock right"):
        convert(otlp(_DAY), time.time_ns())

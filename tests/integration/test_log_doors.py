"""Logs over HTTP as Fluent Bit, Fluentd, Promtail and Alloy send them, with a real broker behind the gateway."""

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cramjam
import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from integration.test_doors_in import dead_letters, gateway
from servers import free_port, running_broker

from forewarn.telemetry import topics
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs
from forewarn.telemetry.proto.loki_push_pb2 import Entry, LabelPair, PushRequest, Stream, Timestamp

NOON = 1_767_614_400 * 10**9  # 2026-01-05 12:00 UTC
TOKEN = {"authorization": "Bearer s3cret"}
JSON = {"content-type": "application/json", **TOKEN}
LINES = {"content-type": "application/x-ndjson", **TOKEN}
PROTOBUF = {"content-type": "application/x-protobuf", **TOKEN}


@dataclass
class Doors:
    """A gateway with a token, and its broker."""

    url: str
    broker: str

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return httpx.post(self.url + path, content=body, headers=headers, timeout=15)

    def logs(self, entity: str) -> list[LogRecord]:
        """What is on the topic of logs under the entity's key."""
        reader = Consumer({"bootstrap.servers": self.broker, "group.id": "test", "enable.auto.commit": False})
        reader.assign([TopicPartition(topics.LOGS, p, 0) for p in range(4)])
        found = []
        while (message := reader.poll(0.7)) is not None:
            if not message.error() and message.key() == entity.encode():
                found += decode_logs(message.value())
        reader.close()
        return found


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with running_broker(free_port()) as broker, gateway(broker, gateway_token="s3cret") as url:
        yield Doors(url, broker)


def push(lines: int = 1, app: str = "loki") -> bytes:
    entries = [
        Entry(timestamp=Timestamp(seconds=NOON // 10**9, nanos=i), line=f"level=error line {i}",
              structured_metadata=[LabelPair(name="user", value="a")])
        for i in range(lines)
    ]  # fmt: skip
    return PushRequest(
        streams=[Stream(labels=f'{{app="{app}", namespace="prod"}}', entries=entries)]
    ).SerializeToString()


def test_fluent_bit_in_json_and_fluentd_in_lines(doors: Doors) -> None:
    record = {"date": 1767614400.25, "log": "out of disk", "level": "error", "service": "fluent", "namespace": "shop"}
    for body, headers in (
        (json.dumps([record, record]).encode(), JSON),
        (gzip.compress(json.dumps(record).encode() * 2), {**JSON, "content-encoding": "gzip"}),  # json_stream
        (b"\n".join([json.dumps(record).encode()] * 2), LINES),
        (zlib.compress(json.dumps(record).encode()), {**LINES, "content-encoding": "deflate"}),
    ):
        assert doors.post("/v1/logs/json", body, headers).status_code == 200
    assert doors.logs("shop/fluent") == [LogRecord(NOON + 250_000_000, "shop/fluent", "ERROR", "out of disk")] * 7


def test_what_a_record_does_not_tell_the_address_may(doors: Doors) -> None:
    assert doors.post("/v1/logs/json/tagged?namespace=shop", b'{"log": "a"}', JSON).status_code == 200
    assert [record.body for record in doors.logs("shop/tagged")] == ["a"]


def test_the_good_records_of_a_batch_are_taken_and_the_bad_told_and_kept(doors: Doors) -> None:
    answer = doors.post("/v1/logs/json", b'{"log": "good", "service": "mixed"}\nbad one\n7', LINES)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "rejected": 2})
    assert [record.body for record in doors.logs("mixed")] == ["good"]
    (headers,) = (headers for headers, value in dead_letters(doors.broker) if value == b"bad one\n7")
    assert headers["topic"] == b"http:/v1/logs/json"
    assert headers["reason"].startswith(b"2 records of a request")
    metrics = httpx.get(f"{doors.url}/metrics").text
    assert 'forewarn_gateway_dropped_total{door="logs_json",reason="not readable"} 2.0' in metrics


def test_loki_in_protobuf_and_json(doors: Doors) -> None:
    snappy = bytes(cramjam.snappy.compress_raw(push(3)))
    answer = doors.post("/loki/api/v1/push", snappy, {**PROTOBUF, "x-scope-orgid": "tenant-1"})
    assert (answer.status_code, answer.content) == (204, b"")
    pushed = {"streams": [{"stream": {"app": "loki", "namespace": "prod"}, "values": [[str(NOON + 9), "again"]]}]}
    zipped = gzip.compress(json.dumps(pushed).encode())
    assert doors.post("/loki/api/v1/push", zipped, {**JSON, "content-encoding": "gzip"}).status_code == 204
    found = doors.logs("prod/loki")
    assert [record.time for record in found] == [NOON, NOON + 1, NOON + 2, NOON + 9]
    assert found[0] == LogRecord(NOON, "prod/loki", "ERROR", "level=error line 0", {"user": "a"})


def test_many_lines_of_one_stream_are_cut_for_the_broker(doors: Doors) -> None:
    snappy = bytes(cramjam.snappy.compress_raw(push(30_000, "many")))
    assert doors.post("/loki/api/v1/push", snappy, PROTOBUF).status_code == 204
    assert len(doors.logs("prod/many")) == 30_000


BOMB = gzip.compress(b" " * 20_000_000)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "reason"),
    [
        ("/v1/logs/json", b"\x92\x00", {"content-type": "application/msgpack", **TOKEN}, 415, "Format json"),
        ("/v1/logs/json", b"nothing here", JSON, 400, "line 1 is not JSON"),
        ("/v1/logs/json", BOMB, {**JSON, "content-encoding": "gzip"}, 413, "larger than"),
        ("/v1/logs/json", b"{}", {"content-type": "application/json"}, 401, "FOREWARN_GATEWAY_TOKEN"),
        ("/loki/api/v1/push", push(), PROTOBUF, 400, "damaged"),  # not compressed
        ("/loki/api/v1/push", bytes(cramjam.snappy.compress_raw(b"\xff\xff")), PROTOBUF, 400, "protobuf"),
        ("/loki/api/v1/push", b"\xff\xff\xff\x7f" + b"x" * 50, PROTOBUF, 413, "larger than"),  # claims 268 MB
        ("/loki/api/v1/push", b"{}", JSON, 400, "streams"),
        ("/loki/api/v1/push", b"{}", {"content-type": "text/plain", **TOKEN}, 415, "Content-Type"),
        ("/loki/api/v1/push", b"{}", {"content-type": "application/json"}, 401, "Bearer"),
    ],
)
def test_what_is_not_taken_is_told_with_the_reason(
    doors: Doors, path: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = doors.post(path, body, headers)
    assert answer.status_code == status
    assert reason in answer.text


def test_a_broker_that_is_away_gives_503() -> None:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(running_broker(free_port()))
        with gateway(broker) as url:
            to = Doors(url, broker)
            assert httpx.get(f"{url}/ready").status_code == 200
            stack.close()
            for path, body, headers in (
                ("/loki/api/v1/push", bytes(cramjam.snappy.compress_raw(push())), PROTOBUF),
                ("/v1/logs/json", b'{"log": "a"}', JSON),
            ):
                answer = to.post(path, body, headers)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

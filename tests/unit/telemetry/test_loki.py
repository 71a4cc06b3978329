"""Loki's push requests: labels to entities, lines to records."""

import json

import pytest

from forewarn.telemetry import loki
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.loki import decode_push, decode_push_json, parse_labels
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs
from forewarn.telemetry.proto.loki_push_pb2 import Entry, LabelPair, PushRequest, Stream, Timestamp

NOON = 1_767_614_400


def records(requests: dict[str, bytes]) -> list[LogRecord]:
    return [record for request in requests.values() for record in decode_logs(request)]


def test_protobuf_and_json_say_the_same() -> None:
    labels = '{job="shop/api", instance="10.0.0.1:80", level="warn", path="C:\\\\x \\"y\\""}'
    metadata = LabelPair(name="trace_id", value="0af7651916cd43dd8448eb211c80319c")
    entry = Entry(timestamp=Timestamp(seconds=NOON, nanos=5), line="slow", structured_metadata=[metadata])
    request = PushRequest(streams=[Stream(labels=labels, entries=[entry])])
    stream = {"job": "shop/api", "instance": "10.0.0.1:80", "level": "warn", "path": 'C:\\x "y"'}
    values = [[str(NOON * 10**9 + 5), "slow", {metadata.name: metadata.value}]]
    pushed = json.dumps({"streams": [{"stream": stream, "values": values}]}).encode()
    binary, count = decode_push(request.SerializeToString(), 1)
    assert (binary, count) == decode_push_json(pushed, 1)
    assert list(binary) == ["shop/api"]
    assert records(binary) == [
        LogRecord(NOON * 10**9 + 5, "shop/api", "WARN", "slow", {"instance": "10.0.0.1:80", "path": 'C:\\x "y"'})
    ]


@pytest.mark.parametrize(
    ("labels", "entity"),
    [
        ({"service_name": "api", "job": "x"}, "api"),
        ({"service_name": "unknown_service", "app": "api", "namespace": "prod", "pod": "api-1"}, "prod/api"),
        ({"container": "db", "k8s_namespace_name": "prod"}, "prod/db"),
        ({"job": "varlogs", "host": "web-1"}, "varlogs"),
        ({"namespace": "prod", "pod": "db-0"}, "prod/db-0"),
        ({"hostname": "web-1", "filename": "/var/log/x"}, "web-1"),
        ({}, "unknown"),
    ],
)
def test_the_entity_of_a_stream(labels: dict[str, str], entity: str) -> None:
    body = json.dumps({"streams": [{"stream": labels, "values": [[str(NOON * 10**9), "x"]]}]}).encode()
    assert list(decode_push_json(body, 1)[0]) == [entity]


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"{", b'{"streams": 3}', b'{"streams": [{"stream": {}, "values": [["now", "x"]]}]}',
        b'{"streams": [{"stream": {}, "values": [["0", "x"]]}]}', b'{"streams": [{"stream": {"a": 3}, "values": []}]}',
        "{\"streams\": [{\"stream\": {}, \"values\": [[\"\u00b2\", \"x\"]]}]}".encode(),
    ],
)  # fmt: skip
def test_what_is_no_push_request_is_told_so(body: bytes) -> None:
    with pytest.raises(TelemetryError):
        decode_push_json(body, 1)
    with pytest.raises(TelemetryError):
        decode_push(b"\x0a\xff" + body, 1)


def test_labels() -> None:
    assert parse_labels("{}") == {}
    assert parse_labels(r'{a="1", b_c="x,\"}=", d=`raw\n`,}') == {"a": "1", "b_c": 'x,"}=', "d": "raw\\n"}
    for bad in ("", "a=1", "{a=1}", '{a="1" b="2"}', '{a="}'):
        with pytest.raises(TelemetryError):
            parse_labels(bad)


@pytest.mark.parametrize(("value", "text"), [("error", "ERROR"), ("17", "ERROR"), (" 13 ", "WARN")])
def test_a_severity_number_may_be_a_word(value: str, text: str) -> None:
    values = [[str(NOON * 10**9), "x", {"severity_number": value}]]
    body = json.dumps({"streams": [{"stream": {"job": "a"}, "values": values}]}).encode()
    (record,) = records(decode_push_json(body, 1)[0])
    assert record.severity == text


def test_a_request_of_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loki, "MOST_RECORDS", 2)
    values = [[str(NOON * 10**9), "x"]] * 3
    with pytest.raises(TelemetryError, match="more than 2 lines"):
        decode_push_json(json.dumps({"streams": [{"stream": {"job": "a"}, "values": values}]}).encode(), 1)

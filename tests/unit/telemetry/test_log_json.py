"""Logs in JSON as shippers write them: what is taken from a record, and what is made of one that cannot be read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from forewarn.telemetry import log_json
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.log_fields import severity_in, severity_number, time_ns
from forewarn.telemetry.log_json import read_json_logs
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs

NOW = 1_767_614_400 * 10**9  # 2026-01-05 12:00 UTC


def one(record: dict[str, object], **defaults: str) -> LogRecord:
    """The record that a JSON object becomes."""
    named = {name.replace("_", "."): value for name, value in defaults.items()}
    (request,) = read_json_logs(json.dumps(record).encode(), NOW, named).requests.values()
    return decode_logs(request)[0]


def test_a_record_of_fluent_bit_in_kubernetes() -> None:
    record = one(
        {
            "date": 1767614399.5,
            "log": "GET /cart 200\n",
            "stream": "stdout",
            "kubernetes": {
                "namespace_name": "shop", "pod_name": "api-7c9-x", "container_name": "server", "host": "node-1",
                "labels": {"app.kubernetes.io/name": "api"},
            },
        }
    )  # fmt: skip
    assert (record.entity, record.body, record.time) == ("shop/api", "GET /cart 200", NOW - 500_000_000)
    assert record.attributes == {"stream": "stdout"}


def test_a_record_of_rsyslog() -> None:
    record = one(
        {
            "msg": " Failed password for root", "rawmsg": "<38>...", "timereported": "2026-01-05T11:59:59.25+00:00",
            "hostname": "web-1", "syslogtag": "sshd[7]:", "programname": "sshd", "syslogseverity": "3", "$!": None,
        }
    )  # fmt: skip
    assert (record.entity, record.body, record.severity) == ("sshd", "Failed password for root", "ERROR")
    assert record.time == NOW - 750_000_000
    assert record.attributes == {"syslogtag": "sshd[7]:"}
    assert one({"msg": "oom", "hostname": "web-1", "programname": "kernel"}).entity == "web-1"


@pytest.mark.parametrize(
    ("fields", "entity"),
    [
        ({"service.name": "api", "service.namespace": "shop"}, "shop/api"),
        ({"service": {"name": "api", "namespace": "shop", "version": "2"}}, "shop/api"),
        ({"service": "api", "namespace": "shop", "kubernetes": {"namespace_name": "k"}}, "shop/api"),
        ({"kubernetes": {"namespace_name": "k", "pod_name": "p", "container_name": "c"}}, "k/c"),
        ({"kubernetes": {"namespace_name": "k", "pod_name": "p"}}, "k/p"),
        ({"container_name": "/web"}, "web"),
        ({"host": "web-1"}, "web-1"),
        ({"host": {"name": "web-1", "os": "linux"}}, "web-1"),
        ({}, "unknown"),
    ],
)
def test_the_entity(fields: dict[str, object], entity: str) -> None:
    assert one({"message": "x", **fields}).entity == entity
    defaults = one({"message": "x", **fields}, service_name="tag").entity
    assert defaults == (entity if any(n in fields for n in ("service", "service.name", "kubernetes", "container_name"))
                        and entity != "k/p" else "k/tag" if entity == "k/p" else "tag")  # fmt: skip


def test_trace_ids_severity_and_the_rest() -> None:
    payload = json.dumps(
        {"message": "paid", "level": 50, "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "nonsense",
         "http": {"status": 200, "path": "/"}, "tags": ["a"], "ok": True, "big": 2**70, "nothing": None}
    ).encode()  # fmt: skip
    (request,) = read_json_logs(payload, NOW).requests.values()
    record = ExportLogsServiceRequest.FromString(request).resource_logs[0].scope_logs[0].log_records[0]
    assert (record.trace_id.hex(), record.span_id) == ("0af7651916cd43dd8448eb211c80319c", b"")
    assert record.severity_number == 17
    assert decode_logs(request)[0].attributes == {
        "span_id": "nonsense", "http.status": "200", "http.path": "/", "tags": '["a"]', "ok": "true", "big": str(2**70),
    }  # fmt: skip


def test_without_a_message_all_of_the_record_is_the_message() -> None:
    record = one({"time": NOW // 10**9, "host": "a", "cpu": 3})
    assert (record.body, record.attributes, record.time) == ('{"cpu":3}', {}, NOW)


@pytest.mark.parametrize("separator", [b"\n", b"", b"\r\n\r\n", b" "])
def test_lines_and_objects_one_after_the_other(separator: bytes) -> None:
    logs = read_json_logs(separator.join([b'{"log":"a"}', b'{"log":"b"}', b'{"log":"c"}']), NOW)
    assert (logs.records, logs.rejected) == (3, [])


def test_a_bad_record_does_not_spoil_the_good_ones() -> None:
    logs = read_json_logs(b'{"log":"a"}\n{"log": \n"text"\n{"log":"b"}', NOW)
    assert logs.records == 2
    assert [raw for raw, _ in logs.rejected] == [b'{"log": ', b'"text"']
    assert "line 2 is not JSON" in logs.rejected[0][1]
    assert "not a text" in logs.rejected[1][1]
    array = read_json_logs(b'[{"log":"a"}, 3]', NOW)
    assert (array.records, array.rejected) == (1, [(b"3", "a log record is an object of fields, not a number")])


@pytest.mark.parametrize("body", [b"garbage", b"3", b"[" * 100_000, b"\xff\xfe", b'{"log": "cut'])
def test_what_holds_no_record_is_refused(body: bytes) -> None:
    with pytest.raises(TelemetryError, match="can be read"):
        read_json_logs(body, NOW)


@pytest.mark.parametrize("body", [b"[{}, {}, {}]", b"{}\n1\n{}", b"{} {} {}", b"[[], [], []]"])
def test_a_request_of_too_many_records_is_refused(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(log_json, "MOST_RECORDS", 2)
    with pytest.raises(TelemetryError, match="more than 2 log records"):
        read_json_logs(body, NOW)


@pytest.mark.parametrize("value", [1767614400, 1767614400.0, "1767614400", NOW // 10**6, NOW // 1000, NOW, str(NOW),
                                   "2026-01-05T12:00:00Z", "2026-01-05 13:00:00 +0100", "2026-01-05T12:00:00",
                                   "2026-01-05T12:00:00.000000000Z"])  # fmt: skip
def test_times(value: object) -> None:
    assert time_ns(value) == NOW


@pytest.mark.parametrize("value", ["yesterday", -1, 0, True, None, 1e30, "9" * 400, [], "0001-01-01T00:00:00Z"])
def test_no_times(value: object) -> None:
    assert time_ns(value) == 0


def test_severities() -> None:
    assert [severity_number(v) for v in ("Warning", "crit", 3, "7", 30, 60, "what", None, True, 99)] == [
        13, 18, 17, 5, 9, 21, 0, 0, 0, 0,
    ]  # fmt: skip
    assert [severity_in(v) for v in ('{"level":"warn"}', "12:00 ERROR x", "level=info", "[error] 7", "no errors")] == [
        13, 17, 9, 17, 0,
    ]  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["time", "date", "log", "level", "service", "host", "kubernetes", "labels", "trace_id", "x"])


@given(st.lists(st.dictionaries(NAMES, JSON, max_size=5), min_size=1, max_size=3))
def test_whatever_is_taken_can_be_read_back(records: list[dict[str, object]]) -> None:
    for body in (json.dumps(records), "\n".join(json.dumps(r) for r in records)):
        logs = read_json_logs(body.encode(), NOW)
        assert logs.records + len(logs.rejected) == len(records)
        found = [record for request in logs.requests.values() for record in decode_logs(request)]
        assert len(found) == logs.records


@given(st.binary(max_size=60))
def test_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        logs = read_json_logs(body, NOW)
    except TelemetryError:
        return
    assert logs.records == sum(len(decode_logs(request)) for request in logs.requests.values())

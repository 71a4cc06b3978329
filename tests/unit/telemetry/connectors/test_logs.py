"""Log lines to templates: what varies is masked, hostile lines are bounded, novelty is told once."""

import time

import pytest
from connector_records import line, read
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from forewarn.telemetry.connectors.kinds import LOGS
from forewarn.telemetry.connectors.log_meter import MOST_TRACKED
from forewarn.telemetry.connectors.log_text import MOST_CHARACTERS, masked, message_of
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import SignalStream
from forewarn.telemetry.connectors.templates import MOST_TEMPLATES, Templates
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /cart 200 51ms", "GET /cart <NUM> <NUM>ms"),
        ("from 10.0.0.7:5432 to 192.168.1.1", "from <IP> to <IP>"),
        ("id 4e1f7b2a-9c3d-4f5e-8a6b-7c8d9e0f1a2b done", "id <UUID> done"),
        ("at 2026-01-05T10:00:00.123Z: x", "at <TIME>: x"),
        ("ptr 0xdeadbeef commit 9f2ce01ab45d", "ptr <HEX> commit <HEX>"),
        ("blk_-1608999687919862906 moved", "blk_-<NUM> moved"),
        ("deadbeef feedface defaced", "deadbeef feedface defaced"),  # words, not ids
        ("server2 v1beta", "server2 v1beta"),
    ],
)
def test_what_varies_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_the_message_of_a_structured_body_is_what_counts() -> None:
    assert message_of('{"ts": 12, "msg": "disk full", "user": 7}') == "disk full"
    assert message_of('{"a": 1}') == '{"a": 1}'
    assert message_of('{"broken": ') == '{"broken": '
    assert message_of("Traceback:\n  File x\n") == "Traceback:"


def test_hostile_lines_are_bounded_and_quick() -> None:
    bodies = [
        "a" * 2**20,
        "1" * 2**20,
        "\x01\x02" * 1000,
        "",
        "{" * 10_000,
        "ab1" * 400_000,
        " " * 2**20,
        "\ud7ff🙂" * 999,
    ]
    bodies += ["0" * k + "a" * 500 for k in range(100)] + ["1:" * 250_000, "dead" * 250 + "-"]
    templates, began = Templates(), time.process_time()
    for number, body in enumerate(bodies):
        message = message_of(body)
        assert len(message) <= MOST_CHARACTERS and message.isprintable()
        template, _ = templates.learn("x", message, "INFO", False, number)
        assert len(template.example) <= 300
    assert time.process_time() - began < 2.0
    assert Templates.load(templates.dump()).dump() == templates.dump()


def test_nested_bodies_and_records_without_a_body_are_taken() -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(time_unix_nano=10**18)
    nested = records.add(time_unix_nano=10**18).body.kvlist_value.values.add(key="message")
    nested.value.string_value = "deep"
    stream = SignalStream(LOGS, Options())
    stream.take(decode_logs(request.SerializeToString()))
    (_, templates) = next(stream.templates())
    assert {t.text for t in templates.touched_ones()} == {"(empty)", "deep"}


def test_templates_are_bounded_and_the_least_used_goes() -> None:
    templates = Templates()
    ids = {}
    for k in range(3 * MOST_TEMPLATES):
        word = "".join(chr(97 + int(c)) for c in str(k))
        ids[k] = templates.learn("x", f"{word} happened{word}", "INFO", False, k)[0].id
        assert templates.learn("x", "always here", "INFO", False, k)[1] == (k == 0)
    assert len(set(ids.values())) == len(ids)
    assert len(templates.dump()) < 400 * MOST_TEMPLATES + 20 * 3 * MOST_TEMPLATES
    assert not templates.learn("x", "a happeneda", "INFO", False, 0)[1], "it went, but is known"


def test_a_template_is_new_once_and_never_while_templates_are_learned() -> None:
    stream = SignalStream(LOGS, Options(learning=100, alive=10, allowance=0))
    told = []
    for second, body in (
        (0, "usual"),
        (50, "early"),
        (200, "usual"),
        (300, "never seen"),
        (400, "never seen"),
        (500, "x"),
    ):
        told += stream.take([line(second, body)])
    new = read(told, "log.templates.new")
    assert min(new) >= 100
    assert {end: n for end, n in new.items() if n} == {310: 1.0}


def test_a_template_keeps_its_id_when_it_grows_more_general() -> None:
    templates = Templates()
    first = templates.learn("x", "user anna logged in from home", "INFO", False, 1)[0].id
    second = templates.learn("x", "user bert logged in from home", "INFO", False, 2)[0]
    assert second.id == first
    assert [t.text for t in templates.touched_ones()] == ["user <*> logged in from home"]


def test_only_some_templates_have_a_rate_and_errors_come_first() -> None:
    stream = SignalStream(LOGS, Options(allowance=0))
    words = [chr(97 + k) * 3 for k in range(20)]
    records = [line(k / 100, f"{word} is {word} done") for k, word in enumerate(words * 5)]
    records += [line(3, "zzz failed badly", severity="ERROR") for _ in range(12)]
    told = stream.take(records) + stream.take([line(60)])
    rates = {s.name for one in told for s in one.series if s.signal == "log.template.rate"}
    assert len(rates) == MOST_TRACKED
    error = stream._entities["shop/api"].meter.templates.learn("shop/api", "zzz failed badly", "ERROR", True, 0)[0].id
    assert f"log.template.rate{{log.template.id={error}}}" in rates


def test_severities_are_few_whatever_is_sent() -> None:
    stream = SignalStream(LOGS, Options(allowance=0))
    told = stream.take([LogRecord(10**18 + k, "x", f"LEVEL{k}", "hi") for k in range(500)])
    told += stream.take([LogRecord(10**18 + 10**11, "x", "CRITICAL", "hi")]) + stream.close_idle()
    named = {s.name for one in told for s in one.series if s.signal == "log.severity.rate"}
    assert named == {"log.severity.rate{log.severity=UNSPECIFIED}", "log.severity.rate{log.severity=FATAL}"}


def test_lines_of_two_severities_have_two_templates() -> None:
    stream = SignalStream(LOGS, Options(allowance=0))
    stream.take([line(1, "GET /cart 200 5 ms"), line(2, "GET /cart 500 9 ms", severity="ERROR")])
    stream.take([line(3, "GET /x 200 1 ms")])
    ((_, templates),) = stream.templates()
    told = sorted((t.severity, t.text, t.count) for t in templates.touched_ones())
    assert told == [("ERROR", "GET /cart <NUM> <NUM> ms", 1), ("INFO", "GET <*> <NUM> <NUM> ms", 2)]

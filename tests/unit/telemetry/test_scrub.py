"""Secrets and personal data are taken out of logs, spans and activity, and nothing else is changed."""

import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.scrub import Scrubber
from forewarn.telemetry.scrub_rules import DEFAULTS, OPTIONAL, ScrubError, load_rules, luhn, read_rules

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
SECRETS = [
    ("bob.o'neil+x@mail.example.org", "email", "from bob.o'neil+x@mail.example.org to x"),
    ("pa55", "url_password", "GET postgres://shop:pa55@db:5432/shop"),
    ("abcdef123456", "token", "GET /reset?token=abcdef123456&a=1"),
    ("abc.def-123", "authorization", "Authorization: Bearer abc.def-123"),
    ("dXNlcjpwYXNz", "authorization", '{"authorization":"Basic dXNlcjpwYXNz"}'),
    ("a1b2c3d4e5", "bearer_token", "sent bearer a1b2c3d4e5 to it"),
    ("hunter2", "password", "DB_PASSWORD=hunter2 user=x"),
    ("hunter2", "password", '{"password": "hunter2","a":1}'),
    ("hunter2", "password", r"{\"password\":\"hunter2\"}"),
    ("two words", "password", 'password: "two words" x'),
    ("k-91", "password", "x-api-key: k-91"),
    ("4111 1111 1111 1111", "card_number", "card 4111 1111 1111 1111 ok"),
    ("378282246310005", "card_number", "card 378282246310005."),
    (JWT, "jwt", f"got {JWT}"),
    ("AKIAIOSFODNN7EXAMPLE", "aws_key", "key AKIAIOSFODNN7EXAMPLE"),
    ("MIIEowIBAAK", "private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAK\n-----END RSA PRIVATE KEY-----"),
    ("a" * 43, "forewarn_token", f"token fwn_{'a' * 43}"),
    ("ghp_" + "a1" * 18, "service_key", "push with ghp_" + "a1" * 18),
]
HARMLESS = [
    "unexpected token: foo", "tokens=512", "bearer authentication required", "basic authentication failed",
    "wrong password for user", "at 1700000000000 and 1700000000000000000", "order 4111111111111112",
    "trace 4111111111111111abcd", "ratio 0.4111111111111111", "http://db:5432/x", "GET /orders/4711 200 15ms",
    "pass 3 of 5", "user@host", "com.example.Secret at line 5", "10.0.0.1 connected",
]  # fmt: skip


@pytest.mark.parametrize(("secret", "rule", "text"), SECRETS, ids=[f"{s[1]}-{i}" for i, s in enumerate(SECRETS)])
def test_secrets_are_replaced_once(secret: str, rule: str, text: str) -> None:
    found, hits = Scrubber().text(text)
    last_part = secret.split("'")[-1]
    assert last_part not in found
    assert hits == {rule: 1}
    assert Scrubber().text(found) == (found, {})


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay(text: str) -> None:
    assert Scrubber().text(text) == (text, {})


def test_luhn() -> None:
    assert luhn("4111111111111111")
    assert luhn("3782 822463 10005")
    assert not luhn("4111111111111112")


def _any(text: str) -> AnyValue:
    return AnyValue(string_value=text)


def _pair(key: str, value: AnyValue) -> KeyValue:
    return KeyValue(key=key, value=value)


def _logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add()
    part.resource.attributes.append(_pair("service.name", _any("ann@example.org")))
    part.resource.attributes.append(_pair("process.command_line", _any("app --password=hunter2")))
    records = part.scope_logs.add().log_records
    records.add(time_unix_nano=1, body=_any("login of ann@example.org"))
    nested = KeyValueList(values=[_pair("user", _any("ann@example.org")), _pair("password", AnyValue(int_value=7))])
    records.add(time_unix_nano=2, body=AnyValue(kvlist_value=nested))
    records.add(time_unix_nano=3, body=_any("nothing here"), attributes=[
        _pair("http.request.header.authorization", AnyValue(array_value=ArrayValue(values=[_any("Bearer x")]))),
        _pair("gen_ai.usage.input_tokens", AnyValue(int_value=5)),
    ])  # fmt: skip
    return request


def test_logs_bodies_attributes_and_resources() -> None:
    payload, hits = Scrubber().otlp("logs", _logs().SerializeToString())
    part = ExportLogsServiceRequest.FromString(payload).resource_logs[0]
    records = part.scope_logs[0].log_records
    assert [a.value.string_value for a in part.resource.attributes] == [
        "ann@example.org",  # names the entity: it must be the same as in metrics
        "app --password=[redacted:password]",
    ]
    assert records[0].body.string_value == "login of [redacted:email]"
    nested = {pair.key: pair.value.string_value for pair in records[1].body.kvlist_value.values}
    assert nested == {"user": "[redacted:email]", "password": "[redacted:named_secret]"}
    assert records[2].body.string_value == "nothing here"
    assert records[2].attributes[0].value.string_value == "[redacted:named_secret]"
    assert records[2].attributes[1].value.int_value == 5
    assert hits == {"email": 2, "password": 1, "named_secret": 2}
    assert Scrubber().otlp("logs", payload) == (payload, {})


def test_spans() -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="GET /u/ann@example.org")
    span.attributes.append(_pair("url.full", _any("https://x/?access_token=abcdef123456")))
    span.status.message = "password=hunter2 is wrong"
    span.events.add(name="exception").attributes.append(_pair("exception.message", _any("mail to bob@example.org")))
    payload, hits = Scrubber().otlp("traces", request.SerializeToString())
    assert hits == {"email": 2, "token": 1, "password": 1}
    for secret in (b"ann@", b"abcdef123456", b"hunter2", b"bob@"):
        assert secret not in payload


def test_what_no_rule_can_apply_to_is_not_decoded() -> None:
    damaged = b"\xff\xff no request at all"
    assert Scrubber().otlp("logs", damaged) == (damaged, {})
    assert Scrubber().otlp("metrics", b"ann@example.org") == (b"ann@example.org", {})
    assert Scrubber(load_rules("off")).otlp("logs", b"ann@example.org") == (b"ann@example.org", {})


def test_activity_and_dead_letters() -> None:
    events = [ActivityEvent("shop/web", "checkout", "9f2c"), ActivityEvent("shop/web", "mail", "ann@example.org")]
    found, hits = Scrubber().activity(events)
    assert found[0] == events[0]
    assert found[1].user_hash == "[redacted:email]"
    assert hits == {"email": 1}
    assert Scrubber().raw(b"\xff\x00 password=hunter2")[0] == b"\xff\x00 password=[redacted:password]"


def test_own_rules_come_first_and_built_in_ones_can_be_turned(tmp_path: Path) -> None:
    file = tmp_path / "scrub.yaml"
    file.write_text(
        "disable: [email]\nenable: [ip_address]\nrules:\n"
        "  - {name: order, pattern: 'ORD-\\d{8}', hints: [ord-], replacement: '[order]'}\n"
        "  - {name: customer, keys: [customer-name]}\n"
    )
    scrubber = Scrubber(load_rules(str(file)))
    text, hits = scrubber.text("ORD-12345678 from ann@example.org at 10.0.0.1 and 2001:db8:0:0:1:0:0:1, not 1.2.3")
    assert text == "[order] from ann@example.org at [redacted:ip_address] and [redacted:ip_address], not 1.2.3"
    assert hits == {"order": 1, "ip_address": 2}
    request = _logs()
    request.resource_logs[0].scope_logs[0].log_records[0].attributes.append(_pair("app.customer_name", _any("Ann")))
    assert b"Ann" not in scrubber.otlp("logs", request.SerializeToString())[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rules: [{name: x, pattern: '('}]", "rule x"),
        ("rules: [{name: x, pattern: 'a*'}]", "matches nothing at all"),
        ("rules: [{name: x}]", "neither"),
        ("rules: [{name: email, pattern: x}]", "is taken"),
        ("disable: [emails]", "no built-in rule emails"),
        ("rule: []", "unknown field"),
        ("rules: [", "scrub.yaml"),
    ],
)
def test_a_wrong_file_is_said(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "scrub.yaml"
    file.write_text(text)
    with pytest.raises(ScrubError, match=reason):
        read_rules(file)


def test_no_line_takes_long() -> None:
    pieces = ("a", "1", "4111 ", "a.b@", "password=", "://a:", "eyJ", "bearer ", "token:'", "a@b.", "authorization: ",
              "-----BEGIN PRIVATE KEY-----", 'secret\\\\"  :', "Bearer a.", "eyJaaaaaaaaa.")  # fmt: skip
    scrubber = Scrubber()
    for piece in pieces:
        started = time.process_time()
        scrubber.text((piece * 50_000)[:50_000])
        assert time.process_time() - started < 2, piece


def test_the_example_of_the_documentation_is_usable(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "security.md"
    file = tmp_path / "scrub.yaml"
    file.write_text(page.read_text().partition("```yaml\n")[2].partition("```")[0])
    text, _ = Scrubber(read_rules(file)).text("ORD-12345678 of account=123456 by ann@example.org")
    assert text == "[order] of account=[redacted:account] by ann@example.org"


def test_every_built_in_rule_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    assert not [rule.name for rule in DEFAULTS + OPTIONAL if f"`{rule.name}`" not in page]

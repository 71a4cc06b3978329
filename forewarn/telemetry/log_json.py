"""Logs in JSON, as Fluent Bit, Fluentd and rsyslog write them, to OTLP. docs/data-formats.md has the mapping."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.log_fields import hex_id, severity_number, time_ns
from forewarn.telemetry.log_requests import Line, LogRequests, as_json, as_text, encodable
from forewarn.telemetry.log_resource import take_resource

_TIMES = ("@timestamp", "timestamp", "time", "ts", "timereported", "timegenerated", "date")
_BODIES = ("message", "msg", "log", "MESSAGE", "body", "short_message")
_LEVELS = ("severity", "severity_text", "level", "loglevel", "log_level", "levelname", "syslogseverity-text",
           "syslogseverity", "priority", "PRIORITY")  # fmt: skip
_TRACES, _SPANS = ("trace_id", "traceId", "trace.id", "TraceId"), ("span_id", "spanId", "span.id", "SpanId")
_REPEATED = ("rawmsg", "rawmsg-after-pri", "$!")  # of rsyslog's jsonmesg: what the other fields say
_DEEPEST = 8
_SPACE = re.compile(r"\s+")
MOST_RECORDS = 200_000  # of a request; shippers send some thousands, and a few bytes can be a record


@dataclass(frozen=True, slots=True)
class JsonLogs:
    """requests: OTLP ExportLogsServiceRequest by entity, of `records` records. rejected: the record and the reason."""

    requests: dict[str, bytes]
    records: int
    rejected: list[tuple[bytes, str]]


def read_json_logs(body: bytes, now_ns: int, defaults: Mapping[str, str] | None = None) -> JsonLogs:
    """Records of a JSON array, of JSON lines, of objects one after the other, or of one object.

    `defaults`: resource attributes for records that do not name theirs. A record that is no object or cannot be read
    is rejected, the others are taken. Raises TelemetryError where nothing can be read, or beyond MOST_RECORDS.
    """
    gathered, rejected = LogRequests(now_ns), []
    for number, (record, reason) in enumerate(_records(body), 1):
        if number > MOST_RECORDS:
            raise TelemetryError(f"the request has more than {MOST_RECORDS} log records; send smaller batches")
        reason = reason or _add(gathered, record, defaults or {})
        if reason:
            rejected.append((record if isinstance(record, bytes) else _raw(record), reason))
    if rejected and not gathered.count:
        raise TelemetryError(f"no log record in JSON can be read: {rejected[0][1]}")
    return JsonLogs(gathered.requests(), gathered.count, rejected)


def _records(body: bytes) -> Iterator[tuple[Any, str]]:
    """Each record, or the bytes that are none with the reason."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from _lines(body)
        return
    yield from ((record, "") for record in (whole if isinstance(whole, list) else [whole]))


def _lines(body: bytes) -> Iterator[tuple[Any, str]]:
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield msgspec.json.decode(line), ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield from _one_after_the_other(line, f"line {number} is not JSON: {error}")


def _one_after_the_other(line: bytes, reason: str) -> Iterator[tuple[Any, str]]:
    """Objects without anything between them, as Fluent Bit's `json_stream` writes them; also with NaN and Infinity."""
    decoder, at = json.JSONDecoder(), 0
    try:
        text = line.decode().strip()
        while at < len(text):
            record, at = decoder.raw_decode(text, at)
            yield from ((one, "") for one in (record if isinstance(record, list) else [record]))
            space = _SPACE.match(text, at)
            at = space.end() if space else at
    except (ValueError, RecursionError):
        rest = text[at:].encode() if at else line
        yield rest, reason


def _add(gathered: LogRequests, record: Any, defaults: Mapping[str, str]) -> str:
    """Add a record; the reason why not, '' where it was added."""
    if not isinstance(record, dict):
        return f"a log record is an object of fields, not {_kind(record)}"
    try:
        gathered.add(*_read(record, defaults))
    except RecursionError:
        return "the record is nested too deeply"
    return ""


def _read(record: dict[str, Any], defaults: Mapping[str, str]) -> tuple[dict[str, str], Line]:
    for name in _REPEATED:
        record.pop(name, None)
    resource = take_resource(record, defaults)
    time = _first(record, _TIMES, time_ns)
    severity_text = next((as_text(record[name]) for name in _LEVELS if severity_number(record.get(name))), "")
    severity = _first(record, _LEVELS, severity_number)
    trace = _first(record, _TRACES, lambda value: hex_id(value, 32)) or b""
    span = _first(record, _SPANS, lambda value: hex_id(value, 16)) or b""
    text = _first(record, _BODIES, lambda value: as_text(value).strip() if value not in (None, "") else None)
    attributes = dict(_flat(record))
    if text is None:  # nothing says which field is the message: all of it is
        text, attributes = (as_text(record) if record else ""), {}
    return resource, Line(text, time or 0, severity or 0, severity_text, trace, span, attributes)


def _first(record: dict[str, Any], names: tuple[str, ...], read: Any) -> Any:
    """What is read from the first of the fields that can be read; that field is taken out of the record."""
    for name in names:
        if name in record and (value := read(record[name])):
            del record[name]
            return value
    return None


def _flat(fields: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from _flat(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name, value


def _raw(record: Any) -> bytes:
    try:
        return encodable(as_json(record)).encode()
    except RecursionError:
        return b"(nested too deeply)"


def _kind(record: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(record), "a number")

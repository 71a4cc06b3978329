"""Loki's push requests, in protobuf and JSON, to OTLP logs. docs/data-formats.md has the mapping of labels."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.log_fields import hex_id, severity_number
from forewarn.telemetry.log_json import MOST_RECORDS
from forewarn.telemetry.log_requests import Line, LogRequests
from forewarn.telemetry.log_resource import loki_resource
from forewarn.telemetry.proto.loki_push_pb2 import PushRequest

_LABEL = re.compile(r'\s*([a-zA-Z_][\w.]*)\s*=\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*(,|$)')
_LEVELS = ("level", "detected_level", "severity", "severity_text", "severity_number")
_LAST_TIME = 2**63 - 1

Entry = tuple[int, str, Mapping[str, str]]  # nanoseconds since 1970, line, structured metadata


class _JsonStream(msgspec.Struct):
    stream: dict[str, str]
    values: list[list[str | dict[str, str]]]


class _JsonPush(msgspec.Struct):
    streams: list[_JsonStream]


def decode_push(body: bytes, now_ns: int) -> tuple[dict[str, bytes], int]:
    """ExportLogsServiceRequest by entity, and how many lines they have, of an unpacked request in protobuf.

    Raises TelemetryError for what cannot be read, or beyond MOST_RECORDS lines.
    """
    try:
        request = PushRequest.FromString(body)
    except DecodeError as error:
        raise TelemetryError(f"the body is not a push request of Loki in protobuf: {error}") from error
    return _requests(((parse_labels(stream.labels), _entries(stream)) for stream in request.streams), now_ns)


def decode_push_json(body: bytes, now_ns: int) -> tuple[dict[str, bytes], int]:
    """As `decode_push`, of `{"streams": [{"stream": {…}, "values": [["<ns>", "line", {…}], …]}]}`."""
    try:
        push = msgspec.json.decode(body, type=_JsonPush)
        return _requests(((one.stream, _json_entries(one.values)) for one in push.streams), now_ns)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TelemetryError(f"the body is not a push request of Loki in JSON: {error}") from error


def parse_labels(text: str) -> dict[str, str]:
    """Labels of a stream, `{job="shop/api", level="warn"}`. Raises TelemetryError."""
    inner, labels, at = text.strip(), {}, 0
    if not (inner.startswith("{") and inner.endswith("}")):
        raise TelemetryError(f"labels are not in braces: {text[:100]!r}")
    inner = inner[1:-1].strip()
    while at < len(inner):
        found = _LABEL.match(inner, at)
        if found is None:
            raise TelemetryError(f"labels cannot be read from {inner[at : at + 50]!r}: {text[:100]!r}")
        labels[found[1]] = _unquoted(found[2])
        at = found.end()
    return labels


def _unquoted(quoted: str) -> str:
    if quoted[0] == "`" or "\\" not in quoted:
        return quoted[1:-1]
    try:
        return str(msgspec.json.decode(quoted))  # Go's escapes, as far as Loki's label values use them
    except msgspec.DecodeError:
        return quoted[1:-1]


def _entries(stream: Any) -> Iterator[Entry]:
    for entry in stream.entries:
        metadata = {pair.name: pair.value for pair in entry.structured_metadata}
        yield entry.timestamp.seconds * 10**9 + entry.timestamp.nanos, entry.line, metadata


def _json_entries(values: Iterable[list[str | dict[str, str]]]) -> Iterator[Entry]:
    for value in values:
        filled: list[Any] = [*value, {}, {}, {}][: max(3, len(value))]
        time, line, metadata, *rest = filled
        if not (isinstance(time, str) and isinstance(line, str) and isinstance(metadata, dict)) or rest:
            raise TelemetryError('a line of a stream is ["<nanoseconds>", "line", {"metadata": "…"}]')
        if not (time.isascii() and time.isdecimal() and len(time) < 20):
            raise TelemetryError(f"a line has the time {time[:40]!r}: Loki's are nanoseconds since 1970, as text")
        yield int(time), line, metadata


def _requests(streams: Iterable[tuple[dict[str, str], Iterator[Entry]]], now_ns: int) -> tuple[dict[str, bytes], int]:
    gathered = LogRequests(now_ns)
    for labels, entries in streams:
        resource, rest = loki_resource(labels)
        for time, line, metadata in entries:
            if not 0 < time <= _LAST_TIME:
                raise TelemetryError(f"a line of {labels} has the time {time} ns, which is no time since 1970")
            if gathered.count >= MOST_RECORDS:
                raise TelemetryError(f"the request has more than {MOST_RECORDS} lines; send smaller batches")
            gathered.add(resource, _line(time, line, {**rest, **metadata}))
    return gathered.requests(), gathered.count


def _line(time: int, line: str, fields: dict[str, str]) -> Line:
    told = next((name for name in _LEVELS if severity_number(fields.get(name))), None)
    text = fields.pop(told) if told else ""
    is_number = told == "severity_number" and text.strip().isdecimal() and 0 < int(text) < 25  # as OTLP counts
    number = int(text) if is_number else severity_number(text)
    trace, span = hex_id(fields.get("trace_id"), 32), hex_id(fields.get("span_id"), 16)
    attributes = {name: value for name, value in fields.items() if not (name == "trace_id" and trace)
                  and not (name == "span_id" and span)}  # fmt: skip
    return Line(line, time, number, text, trace, span, attributes)

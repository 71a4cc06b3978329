"""OTLP requests in JSON to protobuf messages.

OTLP's JSON differs from protobuf's own in one way that matters here: trace and span ids are hexadecimal, not base64.
"""

import base64
import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_split import REQUESTS, Signal

# SystemError: protobuf's own way to refuse half of a surrogate pair where it looks up the name of an enum
_UNREADABLE = (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError, SystemError)
_HEX_FIELDS = frozenset(
    {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}
)  # protobuf's JSON accepts both spellings


def parse_json(signal: Signal, body: bytes) -> Message:
    """The request as a protobuf message. Raises TelemetryError with what is wrong and where."""
    request = REQUESTS[signal]()
    try:
        fields = json.loads(body, object_hook=_with_base64_ids)
        json_format.ParseDict(fields, request, ignore_unknown_fields=True)
        request.SerializeToString()
    except _UNREADABLE as error:
        raise TelemetryError(f"the body is not an OTLP {signal} request in JSON: {_first_line(error)}") from error
    return request


def _with_base64_ids(fields: dict[str, Any]) -> dict[str, Any]:
    for name in _HEX_FIELDS & fields.keys():
        if isinstance(fields[name], str):
            fields[name] = base64.b64encode(bytes.fromhex(fields[name])).decode()
    return fields


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]

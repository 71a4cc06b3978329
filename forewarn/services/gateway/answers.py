"""What the gateway answers: OTLP's responses and, for what it refuses, a google.rpc.Status that tells the reason."""

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.responses import Response

from forewarn.telemetry.otlp_split import Signal

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_RESPONSES: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
    "traces": ExportTraceServiceResponse,
}
_REJECTED = {"metrics": "rejected_data_points", "logs": "rejected_log_records", "traces": "rejected_spans"}
_RPC_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}  # HTTP status to google.rpc.Code


class Refused(Exception):  # noqa: N818  it is an answer, not a fault
    """A request that is not taken: HTTP status and what the sender should know."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason.encode(errors="backslashreplace").decode()  # it may quote half of a surrogate pair
        self.retry_after = retry_after


def export_response(signal: Signal, rejected: int = 0, reason: str = "") -> Message:
    """An Export…Response: empty where all of it was taken, else with OTLP's partial success."""
    if not rejected:
        return _RESPONSES[signal]()
    return _RESPONSES[signal](partial_success={_REJECTED[signal]: rejected, "error_message": reason})


def accepted(signal: Signal, media_type: str, rejected: int = 0, reason: str = "") -> Response:
    """All of it was taken, or all but what `rejected` counts."""
    return _response(export_response(signal, rejected, reason), media_type, 200)


def refused(refusal: Refused, media_type: str) -> Response:
    """A google.rpc.Status in the request's own format."""
    response = _response(Status(code=_RPC_CODES[refusal.status], message=refusal.reason), media_type, refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _response(message: Message, media_type: str, status: int) -> Response:
    if media_type == PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=PROTOBUF)
    return Response(json_format.MessageToJson(message, indent=None), status, media_type=JSON)

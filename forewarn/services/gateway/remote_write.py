"""The door for Prometheus remote write 1.0: what a request becomes, and how it is answered."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from forewarn.services.gateway.answers import PROTOBUF, Refused
from forewarn.services.gateway.delivery import Outgoing
from forewarn.services.gateway.meters import Meters
from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_check import LAST_TIME
from forewarn.telemetry.otlp_split import cut
from forewarn.telemetry.remote_write import decode_write_request

DOOR = "remote_write"


def check_protocol(request: Request) -> None:
    """Raises Refused for what is not remote write 1.0; a sender of 2.0 that is told 415 sends 1.0."""
    media_type, *parameters = [part.strip().lower() for part in request.headers.get("content-type", "").split(";")]
    protocol = next((p.partition("=")[2] for p in parameters if p.startswith("proto=")), "prometheus.writerequest")
    if media_type != PROTOBUF or protocol != "prometheus.writerequest":
        raise Refused(415, f"remote write 1.0 is understood: Content-Type {PROTOBUF}, Content-Encoding snappy")


def messages(body: bytes, meters: Meters, latest_ns: int = LAST_TIME) -> list[Outgoing]:
    """Messages of a WriteRequest; native histograms are counted as dropped.

    Raises TelemetryError, also for a sample after `latest_ns`.
    """
    written = decode_write_request(body, latest_ns // 10**6)
    meters.dropped(DOOR, "native histogram", written.histograms)
    return [
        (topics.METRICS, entity, piece)
        for entity, part in written.requests.items()
        for piece in cut("metrics", part, MAX_MESSAGE_BYTES)
    ]


def accepted() -> Response:
    """All of it was taken."""
    return Response(status_code=204)


def refused(refusal: Refused) -> Response:
    """The reason as text: Prometheus logs it, and tries again what is answered with 503."""
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return PlainTextResponse(refusal.reason + "\n", refusal.status, headers)

"""The doors for logs of other shippers: JSON (Fluent Bit, Fluentd, Vector) and Loki's push API."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from forewarn.services.gateway.answers import JSON, PROTOBUF, Refused, refused
from forewarn.services.gateway.delivery import Outgoing
from forewarn.services.gateway.meters import Meters
from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry import topics
from forewarn.telemetry.log_json import read_json_logs
from forewarn.telemetry.loki import decode_push, decode_push_json
from forewarn.telemetry.otlp_split import Signal, cut

JSON_DOOR, LOKI_DOOR = "logs_json", "loki"
_JSON_TYPES = frozenset(
    {JSON, "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines",
     "application/x-jsonlines", "application/stream+json"}
)  # fmt: skip
_LARGEST_LETTER = 800_000

# request, door, prepare, encoding where the request names none; raises Refused
Deliver = Callable[[Request, str, Callable[[bytes], list[Outgoing]], str], Awaitable[None]]


class LogDoors:
    """`/v1/logs/json` (with a tag behind it, if wanted) and `/loki/api/v1/push`."""

    def __init__(
        self, deliver: Deliver, meters: Meters, scrub: Callable[[Signal, bytes], bytes],
        scrub_raw: Callable[[bytes], bytes],
    ) -> None:  # fmt: skip
        self._deliver, self._meters, self._scrub, self._scrub_raw = deliver, meters, scrub, scrub_raw

    def routes(self) -> list[Route]:
        """The doors as routes of the application."""
        return [
            Route("/v1/logs/json", self._json, methods=["POST"]),
            Route("/v1/logs/json/{tag:path}", self._json, methods=["POST"]),
            Route("/loki/api/v1/push", self._loki, methods=["POST"]),
        ]

    async def _json(self, request: Request) -> Response:
        """200 with how many records were taken and rejected; rejected ones are on dead_letters."""
        started, counts = time.perf_counter(), {"accepted": 0, "rejected": 0}
        defaults = _defaults(request)

        def prepare(body: bytes) -> list[Outgoing]:
            logs = read_json_logs(body, time.time_ns(), defaults)
            counts.update(accepted=logs.records, rejected=len(logs.rejected))
            letter = [self._letter(request.url.path, logs.rejected)] if logs.rejected else []
            return self._messages(logs.requests) + letter

        try:
            _check_json(_media_type(request))
            await self._deliver(request, JSON_DOOR, prepare, "")
            self._meters.dropped(JSON_DOOR, "not readable", counts["rejected"])
            response: Response = JSONResponse(counts)
        except Refused as refusal:
            response = refused(refusal, JSON)
        self._meters.answered(JSON_DOOR, response.status_code, time.perf_counter() - started)
        return response

    async def _loki(self, request: Request) -> Response:
        """204, or the reason as text; what is answered with 503 is sent again by Promtail and its kin."""
        started, media_type = time.perf_counter(), _media_type(request)

        def prepare(body: bytes) -> list[Outgoing]:
            decode = decode_push_json if media_type == JSON else decode_push
            return self._messages(decode(body, time.time_ns())[0])

        try:
            if media_type not in (JSON, PROTOBUF):
                raise Refused(415, f"Content-Type is '{media_type}'; Loki's push API takes {PROTOBUF} or {JSON}")
            await self._deliver(request, LOKI_DOOR, prepare, "" if media_type == JSON else "snappy")
            response = Response(status_code=204)
        except Refused as refusal:
            headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
            response = PlainTextResponse(refusal.reason + "\n", refusal.status, headers)
        self._meters.answered(LOKI_DOOR, response.status_code, time.perf_counter() - started)
        return response

    def _messages(self, requests: dict[str, bytes]) -> list[Outgoing]:
        return [
            (topics.LOGS, entity, piece)
            for entity, request in requests.items()
            for piece in cut("logs", self._scrub("logs", request), MAX_MESSAGE_BYTES)
        ]

    def _letter(self, path: str, rejected: list[tuple[bytes, str]]) -> Outgoing:
        """All that was rejected of a request as one dead letter: a request must not become a million messages."""
        reason = f"{len(rejected)} records of a request to {path} cannot be read: {rejected[0][1]}"
        headers = {"topic": f"http:{path}", "partition": "-1", "offset": "-1", "reason": reason[:900]}
        value = self._scrub_raw(b"\n".join(raw for raw, _ in rejected))[:_LARGEST_LETTER]
        return topics.DEAD_LETTERS, JSON_DOOR, value, [(name, text.encode()) for name, text in headers.items()]


def _defaults(request: Request) -> dict[str, str]:
    told = request.query_params
    named = {
        "service.name": told.get("service") or request.path_params.get("tag", ""),
        "service.namespace": told.get("namespace", ""),
    }
    return {name: value for name, value in named.items() if value}


def _check_json(media_type: str) -> None:
    if media_type in _JSON_TYPES:
        return
    hint = " (Fluent Bit: set `Format json` or `json_lines`)" if "msgpack" in media_type else ""
    raise Refused(415, f"Content-Type is '{media_type}'; send {JSON} or application/x-ndjson{hint}")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()

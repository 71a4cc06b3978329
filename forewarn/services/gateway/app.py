"""The gateway's doors as an ASGI application."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from forewarn.config.settings import Settings
from forewarn.config.tls import server_certificate
from forewarn.services.gateway import remote_write
from forewarn.services.gateway.answer_door import AnswerDoor
from forewarn.services.gateway.answers import JSON, PROTOBUF, Refused, accepted, export_response, refused
from forewarn.services.gateway.body import read_body, unpack
from forewarn.services.gateway.channel_doors import ChannelDoors
from forewarn.services.gateway.delivery import Delivery, Outgoing, Undelivered
from forewarn.services.gateway.grpc_doors import GrpcDoors
from forewarn.services.gateway.log_doors import LogDoors
from forewarn.services.gateway.meters import Meters
from forewarn.services.gateway.rate_limit import RateLimit
from forewarn.services.gateway.request_trace import RequestTrace
from forewarn.services.gateway.response_door import ResponseDoor
from forewarn.services.gateway.tokens import settings_tokens
from forewarn.services.token_cache import TokenCache
from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry import topics
from forewarn.telemetry.activity import ActivityEvent, decode_activity, encode_activity
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_check import kept, latest_time
from forewarn.telemetry.otlp_json import parse_json
from forewarn.telemetry.otlp_split import Signal, cut, parse, split_by_entity
from forewarn.telemetry.scrub import Scrubber
from forewarn.telemetry.scrub_rules import load_rules

_TOPICS: dict[Signal, str] = {"metrics": topics.METRICS, "logs": topics.LOGS, "traces": topics.SPANS}
_RETRY_AFTER_SECONDS = 5
_NAME_EVERY_SECONDS = 60.0
_SMALL_BODY = 32 * 1024  # below this, a thread costs more than the work; what is compressed may be of any size

Scrub = Callable[[Signal, bytes], bytes]
Prepare = Callable[[bytes], list[Outgoing]]
logger = structlog.get_logger("forewarn.services.gateway")


class Gateway:
    """Takes telemetry over HTTP, cuts it by entity and answers when the broker has all of it."""

    def __init__(
        self, settings: Settings, delivery: Delivery, meters: Meters, stored_tokens: TokenCache | None = None
    ) -> None:
        self._tokens = settings_tokens(settings, stored_tokens)
        self._limit, self._ahead = settings.gateway_max_body_bytes, settings.max_ahead_seconds
        self._named_at = float("-inf")
        self._delivery = delivery
        self._meters = meters
        self._answers = AnswerDoor(settings)
        self._responses = ResponseDoor(settings, stored_tokens)
        self._rate = RateLimit(settings.gateway_rate_requests, settings.gateway_rate_bytes)
        self._channels = ChannelDoors(settings, meters, self._rate)
        self._scrubber = Scrubber(load_rules(settings.scrub))
        meters.scrubs(self._scrubber.rules)
        self._grpc: GrpcDoors | None = None
        if settings.gateway_grpc_port:
            host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
            address = f"{host}:{settings.gateway_grpc_port}"
            certificate = server_certificate(settings)
            self._grpc = GrpcDoors(address, self._limit, self._admit, self._take_otlp, meters, certificate)

    def app(self) -> Starlette:
        """`/v1/metrics`, `/v1/logs`, `/v1/traces` (OTLP), `/v1/activity`, `/api/v1/write` (Prometheus),
        `/v1/logs/json`, `/loki/api/v1/push` (see LogDoors), `/answer/…` (see AnswerDoor),
        `/v1/answers/…` (see ChannelDoors), `/v1/responses…` (see ResponseDoor), `/healthz`, `/readyz`, `/metrics`;
        beside it the gRPC server, where a port is set."""
        routes = [Route(f"/v1/{signal}", self._otlp_door(signal), methods=["POST"]) for signal in _TOPICS]
        routes += [
            Route("/v1/activity", self._activity, methods=["POST"]),
            Route("/api/v1/write", self._remote_write, methods=["POST"]),
            *LogDoors(self._deliver, self._meters, self._scrub, self._scrub_raw).routes(),
            *self._answers.routes(),
            *self._channels.routes(),
            *self._responses.routes(),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/ready", self._readyz),  # where clients of Loki ask
            Route("/metrics", self._metrics),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan, middleware=[Middleware(RequestTrace)])

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        if self._grpc is not None:
            try:
                logger.info("gateway listens for gRPC", port=await self._grpc.start())
            except OSError as error:  # another gateway of this machine; HTTP goes on
                logger.warning(
                    "no OTLP over gRPC: set FOREWARN_GATEWAY_GRPC_PORT to a free port, or to 0", reason=str(error)
                )
        yield
        if self._grpc is not None:
            await self._grpc.stop()
        await run_in_threadpool(self._delivery.close)

    def _otlp_door(self, signal: Signal) -> Callable[..., object]:
        async def door(request: Request) -> Response:
            media_type = _media_type(request)
            export = OtlpExport(signal, media_type, self._scrub, self._ahead)

            def answer() -> Response:
                self._left_out(signal, export)
                return accepted(signal, media_type, export.rejected, export.reason)

            return await self._take(request, signal, media_type, export.messages, answer)

        return door

    async def _activity(self, request: Request) -> Response:
        """JSON of one event or a list of them, see `ActivityEvent`."""
        media_type = _media_type(request)

        def prepare(body: bytes) -> list[Outgoing]:
            if media_type != JSON:
                raise Refused(415, f"Content-Type must be {JSON}")
            return self._activity_messages(body)

        return await self._take(request, "activity", JSON, prepare, lambda: JSONResponse({}))

    async def _remote_write(self, request: Request) -> Response:
        started = time.perf_counter()
        try:
            remote_write.check_protocol(request)
            await self._deliver(request, remote_write.DOOR, self._written)
            response = remote_write.accepted()
        except Refused as refusal:
            response = remote_write.refused(refusal)
        self._meters.answered(remote_write.DOOR, response.status_code, time.perf_counter() - started)
        return response

    async def _take(
        self, request: Request, door: str, media_type: str, prepare: Prepare, answer: Callable[[], Response]
    ) -> Response:
        started = time.perf_counter()
        try:
            await self._deliver(request, door, prepare)
            response = answer()
        except Refused as refusal:
            response = refused(refusal, media_type)
        self._meters.answered(door, response.status_code, time.perf_counter() - started)
        return response

    async def _deliver(self, request: Request, door: str, prepare: Prepare, encoding: str = "") -> None:
        """`encoding`: what is assumed where the request names none."""
        address = request.client.host if request.client else ""
        sender = self._admit(door, request.headers.get("authorization", ""), address)
        packed = await read_body(request, self._limit)
        self._rate.charge(sender, len(packed))
        encoding = request.headers.get("content-encoding", "") or encoding
        await self._hand_over(door, packed, encoding.strip().lower(), prepare)

    def _admit(self, door: str, authorization: str, address: str, size: int = 0) -> str:
        """Who sends: by its token, else by its address. Raises Refused: no token of this door, or too much."""
        self._tokens.check(door, authorization)
        shown = authorization.partition(" ")[2].strip()
        sender = f"token {shown}" if shown and self._tokens.required else address
        self._rate.admit(sender)
        self._rate.charge(sender, size)
        return sender

    async def _take_otlp(self, signal: Signal, door: str, body: bytes) -> bytes:
        """A request in protobuf that came over gRPC, already unpacked; the answer in protobuf."""
        export = OtlpExport(signal, PROTOBUF, self._scrub, self._ahead)
        await self._hand_over(door, body, "", export.messages)
        self._left_out(door, export)
        return export_response(signal, export.rejected, export.reason).SerializeToString()

    async def _hand_over(self, door: str, packed: bytes, encoding: str, prepare: Prepare) -> None:
        """Return when the broker has all of it. Raises Refused."""

        def work() -> tuple[int, list[Outgoing]]:
            body = unpack(packed, encoding, self._limit)
            return len(body), prepare(body)

        inline = encoding in ("", "identity") and len(packed) < _SMALL_BODY
        try:
            size, messages = work() if inline else await run_in_threadpool(work)
        except TelemetryError as error:
            raise Refused(400, str(error)) from error
        except (ValueError, OverflowError) as error:  # a fault of ours; as a 500, shippers would send it for ever
            logger.exception("a request could not be read", door=door)
            raise Refused(400, "the request cannot be read; the gateway's log says more") from error
        try:
            await self._delivery.send(messages)
        except Undelivered as error:
            logger.warning("the broker did not take a request", door=door, reason=str(error))
            reason = f"the broker did not take the data ({error}); nothing is lost if you send it again"
            raise Refused(503, reason, _RETRY_AFTER_SECONDS) from error
        self._meters.accepted(door, size, len(messages))
        logger.debug("taken", door=door, bytes=size, messages=len(messages))

    def _written(self, body: bytes) -> list[Outgoing]:
        return remote_write.messages(body, self._meters, latest_time(self._ahead))

    def _left_out(self, door: str, export: "OtlpExport") -> None:
        """Count what has no usable time, and say so now and then: not everybody reads what his exporter is told."""
        self._meters.dropped(door, "no usable time", export.rejected)
        if export.rejected and time.monotonic() >= self._named_at + _NAME_EVERY_SECONDS:
            self._named_at = time.monotonic()
            logger.warning("telemetry without a usable time is refused", door=door, reason=export.reason)

    def _scrub(self, signal: Signal, request: bytes) -> bytes:
        scrubbed, hits = self._scrubber.otlp(signal, request)
        self._meters.scrubbed(hits)
        return scrubbed

    def _scrub_raw(self, value: bytes) -> bytes:
        scrubbed, hits = self._scrubber.raw(value)
        self._meters.scrubbed(hits)
        return scrubbed

    def _activity_messages(self, body: bytes) -> list[Outgoing]:
        events, hits = self._scrubber.activity(decode_activity(body, datetime.now(UTC)))
        self._meters.scrubbed(hits)
        return _activity_messages(events)

    async def _healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        if await run_in_threadpool(self._delivery.reachable):
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the broker cannot be reached\n", 503, {"Retry-After": str(_RETRY_AFTER_SECONDS)})

    async def _metrics(self, request: Request) -> Response:
        return Response(self._meters.text(), media_type="text/plain; version=0.0.4")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class OtlpExport:
    """One Export…Request: its messages, and afterwards how many of its records were left out, and why."""

    def __init__(self, signal: Signal, media_type: str, scrub: Scrub, ahead_seconds: float) -> None:
        self._signal, self._media_type, self._scrub, self._ahead = signal, media_type, scrub, ahead_seconds
        self.rejected, self.reason = 0, ""

    def messages(self, body: bytes) -> list[Outgoing]:
        """What goes onto the topic. Raises TelemetryError, also where not one record can be kept; Refused."""
        checked = kept(self._signal, *self._parsed(body), self._ahead)
        self.rejected, self.reason = checked.rejected, checked.reason
        return [
            (_TOPICS[self._signal], entity, piece)
            for entity, part in split_by_entity(self._scrub(self._signal, checked.payload)).items()
            for piece in cut(self._signal, part, MAX_MESSAGE_BYTES)
        ]

    def _parsed(self, body: bytes) -> tuple[bytes, Message]:
        if self._media_type == PROTOBUF:
            return body, parse(self._signal, body)
        if self._media_type == JSON:
            body = parse_json(self._signal, body).SerializeToString()
            return body, parse(self._signal, body)  # what JSON nests too deeply for protobuf could not be read again
        raise Refused(415, f"Content-Type is '{self._media_type}'; OTLP needs {PROTOBUF} or {JSON}")


def _activity_messages(told: list[ActivityEvent]) -> list[Outgoing]:
    by_service: dict[str, list[ActivityEvent]] = {}
    for event in told:
        by_service.setdefault(event.service, []).append(event)
    return [
        (topics.ACTIVITY, service, encode_activity(events[start : start + 5000]))
        for service, events in by_service.items()
        for start in range(0, len(events), 5000)
    ]

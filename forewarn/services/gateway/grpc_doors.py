"""OTLP over gRPC: the same doors for exporters that speak it, with reflection and health."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from forewarn.config.tls import ServerCertificate
from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.meters import Meters
from forewarn.services.tracing import request_span
from forewarn.telemetry.otlp_split import Signal

# Signal, its descriptor and the service in it; each has the one method Export.
_SERVICES: tuple[tuple[Signal, str], ...] = (
    ("metrics", metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name),
    ("logs", logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name),
    ("traces", trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name),
)
_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 413: "RESOURCE_EXHAUSTED",
          429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_GRACE_SECONDS = 5.0

Take = Callable[[Signal, str, bytes], Awaitable[bytes]]  # signal, door, request; the response; raises Refused
Admit = Callable[[str, str, str, int], object]  # door, authorization, address, bytes; raises Refused
Context = Any  # grpc.aio.ServicerContext


class GrpcDoors:
    """A gRPC server in the gateway's event loop. An answer means that the broker has all of the request."""

    def __init__(
        self, address: str, limit: int, admit: Admit, take: Take, meters: Meters,
        certificate: ServerCertificate | None = None,
    ) -> None:  # fmt: skip
        self._certificate = certificate
        self._address, self._limit = address, limit
        self._admit, self._take, self._meters = admit, take, meters
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen; the port. Raises OSError where that is not possible."""
        options = [("grpc.max_receive_message_length", self._limit), ("grpc.so_reuseport", 0)]
        server = grpc.aio.server(
            options=options, maximum_concurrent_rpcs=1000, compression=grpc.Compression.NoCompression
        )
        for signal, name in _SERVICES:
            method = grpc.unary_unary_rpc_method_handler(self._export(signal))  # bytes in, bytes out
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method}),))
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        for name in ("", *(name for _, name in _SERVICES)):
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        names = [name for _, name in _SERVICES] + [_HEALTH, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        try:
            port = self._open(server)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address} for gRPC") from error
        await server.start()
        self._server = server
        return int(port)

    def _open(self, server: Any) -> int:
        if self._certificate is None:
            return int(server.add_insecure_port(self._address))
        pair = (self._certificate.key.read_bytes(), self._certificate.certificate.read_bytes())
        return int(server.add_secure_port(self._address, grpc.ssl_server_credentials([pair])))

    async def stop(self) -> None:
        """Finish what is under way, for a few seconds at most."""
        if self._server is not None:
            await self._server.stop(_GRACE_SECONDS)

    def _export(self, signal: Signal) -> Callable[[bytes, Context], Awaitable[bytes]]:
        door = f"grpc_{signal}"
        context_name = f"gRPC Export {signal}"

        async def export(request: bytes, context: Context) -> bytes:
            started, status = time.perf_counter(), 200
            try:
                metadata = dict(context.invocation_metadata() or ())
                address = str(context.peer()).rpartition(":")[0]  # without the port, which each connection has anew
                with request_span(context_name, {k: v for k, v in metadata.items() if isinstance(v, str)}):
                    self._admit(door, str(metadata.get("authorization", "")), address, len(request))
                    return await self._take(signal, door, request)
            except Refused as refusal:
                status = refusal.status
                await context.abort(getattr(grpc.StatusCode, _CODES.get(status, "UNKNOWN")), refusal.reason)
            finally:
                self._meters.answered(door, status, time.perf_counter() - started)
            return b""  # not reached: abort raises

        return export

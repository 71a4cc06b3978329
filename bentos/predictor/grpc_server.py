"""The predictor over gRPC: the questions of HTTP, with reflection and health; see proto/predictor.proto."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from numpy.typing import NDArray

from bentos.predictor import schema
from bentos.predictor.answers import Answers, InvalidQuestionError, QuestionError, UnknownSignalError, now, rows_of
from bentos.predictor.proto import predictor_pb2 as pb
from bentos.predictor.proto import predictor_pb2_grpc as pb_grpc
from bentos.predictor.read_token import ReadTokenInterceptor
from forewarn.features.definitions import FEATURE_COUNT
from forewarn.services.token_cache import TokenCache

logger = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Predictor"].full_name
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_GRACE_SECONDS = 5.0
_HEALTH_SECONDS = 0.5  # how often readiness is looked at
_BYTES_A_ROW = 10 + 8 * FEATURE_COUNT
_FEW_ROWS = 8  # are scored in the event loop: handing them to a thread takes longer
_CODES = {InvalidQuestionError: grpc.StatusCode.INVALID_ARGUMENT, UnknownSignalError: grpc.StatusCode.NOT_FOUND}

Context = Any  # grpc.aio.ServicerContext


class Servicer(pb_grpc.PredictorServicer):
    """Answers questions that come as messages."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """See proto/predictor.proto."""

        def answer() -> pb.PredictResponse:
            features = _features(request.features)
            return schema.predict_message(self._answers.predict(features, request.feature_version))

        return await _answered(answer, context, few=len(request.features) <= _FEW_ROWS)

    async def Forecast(self, request: pb.ForecastRequest, context: Context) -> pb.ForecastResponse:  # noqa: N802
        """See proto/predictor.proto."""

        def answer() -> pb.ForecastResponse:
            found = self._answers.forecast(request.entity, request.signal, request.at_least)
            return schema.forecast_message(found, now())

        return await _answered(answer, context)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:  # noqa: N802
        """See proto/predictor.proto."""

        def answer() -> pb.ExplainResponse:
            features = _features(request.features)
            found = self._answers.explain(
                request.entity, request.signal, features, request.feature_version, request.top
            )  # fmt: skip
            return schema.explain_message(found)

        return await _answered(answer, context)


async def _answered(answer: Callable[[], Any], context: Context, few: bool = False) -> Any:
    try:
        return answer() if few else await asyncio.to_thread(answer)
    except QuestionError as error:
        await context.abort(_CODES.get(type(error), grpc.StatusCode.UNKNOWN), str(error))
    except Exception:
        logger.exception("a question over gRPC broke")
        await context.abort(grpc.StatusCode.INTERNAL, "the predictor failed on this question; its log says why")


def _features(rows: Any) -> NDArray[np.float64]:
    return rows_of([row.values for row in rows])


class GrpcServer:
    """A gRPC server in the event loop that starts it.

    ready: what the health service tells. tokens: where questions need one.
    """

    def __init__(
        self, address: str, answers: Answers, ready: Callable[[], bool], tokens: TokenCache | None = None
    ) -> None:
        self._interceptors = [ReadTokenInterceptor(tokens)] if tokens is not None else []
        self._address, self._answers, self._ready = address, answers, ready
        self._server: grpc.aio.Server | None = None
        self._health = health.HealthServicer()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; the port. Raises OSError where that is not possible."""
        largest = max(4 * 2**20, 2**16 + _BYTES_A_ROW * self._answers.max_rows)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", largest),
                ("grpc.max_send_message_length", largest),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=256,
            interceptors=self._interceptors,
        )
        pb_grpc.add_PredictorServicer_to_server(Servicer(self._answers), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        await self._tell(False)
        reflection.enable_server_reflection((SERVICE, _HEALTH, reflection.SERVICE_NAME), server)
        try:
            port = server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(
                f"cannot listen on {self._address} for gRPC: set FOREWARN_PREDICTOR_GRPC_PORT to another port, or to 0 "
                "for none"
            ) from error
        await server.start()
        self._server = server
        self._task = asyncio.create_task(self._follow_readiness())
        return int(port)

    async def stop(self) -> None:
        """Say that it goes, finish what is under way, for a few seconds at most."""
        if self._task is not None:
            self._task.cancel()
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(_GRACE_SECONDS)

    async def _follow_readiness(self) -> None:
        told = False
        while True:
            if self._ready() != told:
                told = not told
                await self._tell(told)
            await asyncio.sleep(_HEALTH_SECONDS)

    async def _tell(self, ready: bool) -> None:
        state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

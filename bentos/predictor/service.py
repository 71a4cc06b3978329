"""BentoML service of the predictor: the stream, and the same scoring path over HTTP and gRPC."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any

import bentoml
import msgspec
import structlog
from pydantic import Field
from starlette.responses import JSONResponse, Response

from bentos.predictor import request_log, schema
from bentos.predictor.answers import Answers, QuestionError, UnknownSignalError, now, rows_of
from bentos.predictor.body_limit import BodyLimit
from bentos.predictor.comparison import Comparison
from bentos.predictor.grpc_server import GrpcServer
from bentos.predictor.index_page import IndexPage
from bentos.predictor.model_health import ModelHealth
from bentos.predictor.online_features import OnlineFeatures
from bentos.predictor.read_token import ReadToken
from bentos.predictor.schema import ExplainResponse, ForecastResponse, PredictResponse
from bentos.predictor.served_models import ServedModels
from bentos.predictor.service_graph import ServiceGraphWatch
from bentos.predictor.shadow import ShadowScoring
from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_NAMES, FEATURE_VERSION
from forewarn.risk.records import Risk
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import configure_logging
from forewarn.services.metrics import exposition
from forewarn.services.prediction_stream import Latest, PredictionStream
from forewarn.services.token_cache import TokenCache
from forewarn.services.tracing import configure_tracing

logger = structlog.get_logger(__name__)

_SWITCH_SECONDS = 0.001  # a request waits so long at most for a busy stream to let go of the interpreter; usual is 5 ms
_FEW_ROWS = 8  # are scored in the event loop: handing them to a thread takes longer
_BYTES_A_ROW = 30 * FEATURE_COUNT  # a number as JSON, at its longest

_settings = Settings()
TOKENS = TokenCache(_settings.postgres_url.get_secret_value()) if _settings.require_read_token else None

Rows = Annotated[
    list[list[float | None]],
    Field(description="Each row has one number (null: missing) for each of the feature_names that /status tells."),
]
Version = Annotated[str, Field(description="Of these features; empty: the model's.")]


@bentoml.service(
    name="forewarn_predictor",
    workers=1,
    traffic={"timeout": 30, "max_concurrency": 64},
    logging={"access": {"enabled": False}},
)
class Predictor:
    """Scores the stream and answers questions about it."""

    def __init__(self) -> None:
        self.settings = Settings()
        configure_logging(self.settings)
        configure_tracing("predictor")
        request_log.quiet()
        sys.setswitchinterval(_SWITCH_SECONDS)
        url, instance = self.settings.postgres_url.get_secret_value(), f"predictor-{socket.gethostname()}-{os.getpid()}"
        self.stream = PredictionStream(self.settings, lambda: self.models.scorer(), self._scored)
        self.health = ModelHealth(instance, self.stream.counters)
        self.models = ServedModels(url, self.health)
        self.comparison = Comparison(url, self.health, self.stream.counters)
        self.shadow = ShadowScoring(lambda: self.models.models, self.health, self.comparison)
        self.service_graph = ServiceGraphWatch(url, self._learn_calls)
        self.heartbeat = Heartbeat(url, "predictor", instance)
        self.heartbeat.counters = self.stream.counters
        self.answers = Answers(self.models.answering, self.stream.latest, self.settings.predictor_max_rows)
        self.grpc: GrpcServer | None = None
        if TOKENS is not None:
            TOKENS.__enter__()
        for part in (self.models, self.comparison, self.shadow, self.service_graph):
            part.start()
        self.heartbeat.__enter__()
        self.thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self.thread.start()
        self.online: OnlineFeatures | None = None
        if self.settings.feast_push:
            self.online = OnlineFeatures(self.stream.latest, self.settings.home.absolute())
            self.online.start()

    def _learn_calls(self, calls: dict[str, set[str]]) -> None:
        self.stream.calls = calls

    def _scored(self, key: tuple[int, str], latest: Latest, risks: list[Risk]) -> None:
        self.health.told(latest, risks)
        self.shadow.offer(key, latest, risks)

    def _run(self) -> None:
        try:
            self.stream.run()
        except Exception:  # whatever ends the stream must end the process: the supervisor starts it anew
            logger.exception("the stream broke")
            os._exit(70)

    @bentoml.on_startup
    async def listen(self) -> None:
        """Open the gRPC port, in the event loop that HTTP has."""
        if self.settings.predictor_grpc_port:
            address = f"{self.settings.bind_host}:{self.settings.predictor_grpc_port}"
            self.grpc = GrpcServer(address, self.answers, self.stream.ready.is_set, TOKENS)
            await self.grpc.start()
            logger.info("gRPC listens", address=address)

    @bentoml.on_shutdown
    async def shutdown(self) -> None:
        """Answer what was asked, then stop the stream and what follows it."""
        if self.grpc is not None:
            await self.grpc.stop()
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        if self.online is not None:
            self.online.stop()
        self.stream.stop()
        self.thread.join(timeout=10)
        for part in (self.models, self.shadow, self.comparison, self.service_graph):
            part.stop()
        self.heartbeat.__exit__(None, None, None)
        if TOKENS is not None:
            TOKENS.__exit__(None, None, None)

    def __is_ready__(self) -> bool:
        """Whether the stream has its partitions; BentoML asks it for `/readyz`."""
        return self.stream.ready.is_set()

    async def __metrics__(self, text: str) -> str:
        """What BentoML tells Prometheus at `/metrics`, and what the stream counts."""
        return text + exposition("predictor", self.stream.counters)

    @bentoml.api
    async def predict(self, features: Rows, feature_version: Version = "") -> PredictResponse:
        """Scores of rows of features, by the model that serves the stream.

        Answers the probability of failure within each horizon and the 10, 50 and 90 % quantile of the steps to it.
        """

        def answer() -> PredictResponse:
            return schema.predict_json(self.answers.predict(rows_of(features), feature_version))

        return await _answered(answer, few=len(features) <= _FEW_ROWS)

    @bentoml.api
    async def forecast(self, entity: str = "", signal: str = "", at_least: float = 0.0) -> ForecastResponse:
        """What the stream says now: each limited signal (of one entity, or all) with its probability and time.

        at_least: only signals whose probability within the paging horizon is so high.
        """
        return await _answered(lambda: schema.forecast_json(self.answers.forecast(entity, signal, at_least), now()))

    @bentoml.api
    async def explain(
        self,
        entity: str = "",
        signal: str = "",
        features: Rows = [],  # noqa: B006 BentoML reads the default, nobody changes it
        feature_version: Version = "",
        top: Annotated[int, Field(ge=0)] = 0,
    ) -> ExplainResponse:
        """What drives the probability of a live signal (entity and signal), or of rows of features.

        The strongest features first (SHAP values), `top` of them (0: ten); of a live signal also the reasons that
        survived their deletion test, in words.
        """

        def answer() -> ExplainResponse:
            return schema.explain_json(self.answers.explain(entity, signal, rows_of(features), feature_version, top))

        return await _answered(answer)

    @bentoml.api
    async def status(self) -> dict[str, Any]:
        """The models that serve and shadow, the features that they need, and the stream's counters."""
        models = self.models.models
        return {
            "model_version": models.champion.version,
            "threshold": models.champion.threshold,
            "shadow_version": models.shadow.version if models.shadow else None,
            "fallback_versions": [scorer.version for scorer in models.fallbacks],
            "revision": models.revision,
            "feature_version": FEATURE_VERSION,
            "feature_names": list(FEATURE_NAMES),
            "counters": dict(self.stream.counters),
        }


async def _answered(answer: Callable[[], Any], few: bool = False) -> Any:
    """The answer as JSON, written once: BentoML would look through it again. A question that is refused: 400 or 404."""
    try:
        found = answer() if few else await asyncio.to_thread(answer)
    except QuestionError as error:
        return JSONResponse({"error": str(error)}, 404 if isinstance(error, UnknownSignalError) else 400)
    return Response(msgspec.json.encode(found.__dict__, enc_hook=_plain), media_type="application/json")


def _plain(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


Predictor.add_asgi_middleware(IndexPage)
Predictor.add_asgi_middleware(BodyLimit, limit=2**16 + _BYTES_A_ROW * _settings.predictor_max_rows)
if TOKENS is not None:
    Predictor.add_asgi_middleware(ReadToken, tokens=TOKENS)

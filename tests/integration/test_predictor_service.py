"""The predictor's doors: the same answers over HTTP and gRPC as in process, and what is refused."""

import logging
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import grpc
import httpx
import numpy as np
import psycopg
import pytest
import uvicorn
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from integration.test_prediction_stream import START_NS, STEP_NS, memory_leak
from prometheus_client import REGISTRY
from servers import free_port, running_broker, wait_for_port

from bentos.predictor.proto import predictor_pb2 as pb
from bentos.predictor.proto import predictor_pb2_grpc as pb_grpc
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_NAMES, FEATURE_VERSION
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import score
from forewarn.stores.log import create_topics, producer
from forewarn.stores.schema import create_tables
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import Series

SERVICE = "forewarn.predictor.v1.Predictor"
ENTITY, SIGNAL = "shop/api", "process.memory.usage"


class Doors:
    """The service in this process, with both of its doors."""

    def __init__(self, http_port: int, grpc_port: int) -> None:
        self.http_port, self.grpc_port = http_port, grpc_port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self.stub = pb_grpc.PredictorStub(self.channel)

    def ask(self, door: str, **question: object) -> dict:
        answer = self.http.post(door, json=question)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, door: str, **question: object) -> tuple[int, str]:
        answer = self.http.post(door, json=question)
        return answer.status_code, answer.json()["error"]


@contextmanager
def database(server: str) -> Iterator[str]:
    name = f"doors_{time.monotonic_ns()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        url = psycopg.conninfo.make_conninfo(server, dbname=name)
        create_tables(url)
        yield url
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="module")
def doors(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A predictor that has scored a leak."""
    grpc_port, home = free_port(), tmp_path_factory.mktemp("home")
    with (
        running_broker(free_port()) as broker,
        database(postgres_server) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        create_topics(broker, 2)
        for name, value in {
            "FOREWARN_HOME": str(home), "FOREWARN_KAFKA_BOOTSTRAP": broker, "FOREWARN_POSTGRES_URL": url,
            "FOREWARN_PREDICTOR_GRPC_PORT": str(grpc_port), "FOREWARN_PREDICTOR_MAX_ROWS": "50",
            "FOREWARN_LATENESS_SECONDS": "0", "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(home / "bentoml"),
        }.items():  # fmt: skip
            patch.setenv(name, value)
        send_leak(broker)
        from bentoml._internal.configuration.containers import BentoMLContainer
        from bentoml._internal.server.metrics.prometheus import PrometheusClient

        from bentos.predictor.service import Predictor

        others = set(REGISTRY._names_to_collectors.values())
        BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))  # there is one process here
        with log_as_before(), listening(Predictor.to_asgi(is_main=True)) as http_port:
            made = Doors(http_port, grpc_port)
            wait_for(lambda: made.ask("/forecast")["signals"])
            yield made
            made.channel.close()
            made.http.close()
        for own in set(REGISTRY._names_to_collectors.values()) - others:
            REGISTRY.unregister(own)  # there may be another predictor in this process, after this one


@contextmanager
def listening(app: object) -> Iterator[int]:
    """The port on which the application answers, from a thread of its own."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for_port(port, 90)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(60)


@contextmanager
def log_as_before() -> Iterator[None]:
    """The service sends the log elsewhere; it is given back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level


def send_leak(address: str, steps: int = 470) -> None:
    series = (Series(ENTITY, SIGNAL, unit="By"), Series(ENTITY, f"{SIGNAL}.limit", unit="By"))
    values, to = memory_leak(ENTITY, steps), producer(address)
    times = START_NS + np.arange(steps) * STEP_NS
    for first, last in [(0, steps - 2), (steps - 2, steps - 1), (steps - 1, steps)]:
        part = encode_metrics(ENTITY, series, times[first:last], values[:, first:last])
        to.produce(topics.METRICS, part, ENTITY)
        assert to.flush(10) == 0


def wait_for(done: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def rows() -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(20, FEATURE_COUNT))
    X[:, 5] = np.nan
    return X


def as_json(rows: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(v) else v for v in row] for row in rows.tolist()]


def as_rows(rows: np.ndarray) -> list[pb.Row]:
    return [pb.Row(values=row) for row in rows.tolist()]


def test_predictions_are_the_same_over_http_over_grpc_and_in_process(doors: Doors, rows: np.ndarray) -> None:
    scores = score(FirstDayScorer(), rows)
    over_http = doors.ask("/predict", features=as_json(rows), feature_version=FEATURE_VERSION)
    over_grpc = doors.stub.Predict(pb.PredictRequest(features=as_rows(rows), feature_version=FEATURE_VERSION))
    for answer in (over_http["probability"], [list(row.values) for row in over_grpc.probability]):
        np.testing.assert_allclose(np.array(answer), 1 - scores.survival, atol=1e-6)
    for answer in (over_http["steps_to_failure"], [list(row.values) for row in over_grpc.steps_to_failure]):
        np.testing.assert_allclose(np.array(answer), scores.quantiles, atol=1e-3)
    assert over_http["model_version"] == over_grpc.model_version == FirstDayScorer().version
    assert over_http["horizon_steps"] == list(over_grpc.horizon_steps)
    few = doors.ask("/predict", features=as_json(rows[:2]))
    assert few["probability"] == over_http["probability"][:2]
    assert doors.ask("/predict", features=[])["probability"] == []


def test_the_stream_is_told_alike_over_both(doors: Doors) -> None:
    [over_http] = doors.ask("/forecast", entity=ENTITY)["signals"]
    [over_grpc] = doors.stub.Forecast(pb.ForecastRequest(entity=ENTITY, signal=SIGNAL)).signals
    assert (over_http["entity"], over_http["signal"], over_http["limit"]) == (ENTITY, SIGNAL, 1e9)
    assert over_http["predicted"] is over_grpc.predicted is True
    assert over_http["probability"] == over_grpc.probability > 0.3
    assert datetime.fromisoformat(over_http["at"]) == datetime.fromisoformat(over_grpc.at)
    left = over_http["seconds_to_failure"]
    assert left["p10"] <= left["p50"] <= left["p90"]
    assert left["p50"] == over_grpc.seconds_to_failure.p50
    assert abs(left["p50"] / (180 * 60) - 1) < 0.6  # 180 steps are left
    assert doors.ask("/forecast", at_least=1.0)["signals"] == []


def test_a_live_signal_is_explained_by_features_and_by_what_survives_its_deletion(doors: Doors) -> None:
    over_http = doors.ask("/explain", entity=ENTITY, signal=SIGNAL, top=3)
    over_grpc = doors.stub.Explain(pb.ExplainRequest(entity=ENTITY, signal=SIGNAL, top=3))
    [one], [other] = over_http["explanations"], over_grpc.explanations
    assert len(one["contributions"]) == len(other.contributions) == 3
    assert [c["feature"] for c in one["contributions"]] == [c.feature for c in other.contributions]
    sizes = [abs(c["log_odds"]) for c in one["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all(c["text"] for c in one["contributions"])
    assert [d["text"] for d in one["drivers"]] == [d.text for d in other.drivers]
    assert any("growth" in d["text"] and d["contribution"] > 0.05 for d in one["drivers"])


def test_rows_are_explained_too(doors: Doors, rows: np.ndarray) -> None:
    answer = doors.ask("/explain", features=as_json(rows[:3]))
    assert answer["method"] == "deletion"  # the first-day model is not one of trees alone
    assert len(answer["explanations"]) == 3
    named = {c["feature"] for e in answer["explanations"] for c in e["contributions"]}
    assert named <= set(FEATURE_NAMES)
    assert FEATURE_NAMES[5] not in named  # it is missing


REFUSED = {
    "a row that is too short": ("/predict", {"features": [[1.0]]}, 400, "row 0 has 1 numbers"),
    "another version": ("/predict", {"features": [], "feature_version": "1"}, 400, "features of version 1"),
    "too many rows": ("/predict", {"features": [[0.0] * FEATURE_COUNT] * 51}, 400, "at most 50 are taken"),
    "an unknown entity": ("/forecast", {"entity": "shop/none"}, 404, f"there are: {ENTITY}"),
    "an unknown signal": ("/forecast", {"entity": ENTITY, "signal": "x"}, 404, f"it has: {SIGNAL}"),
    "no probability": ("/forecast", {"at_least": 7}, 400, "from 0 to 1"),
    "nothing to explain": ("/explain", {}, 400, "name a live signal"),
    "half a signal": ("/explain", {"entity": ENTITY}, 400, "both its entity and its signal"),
    "no numbers": ("/predict", {"features": [["a"]]}, 400, "validation error"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_over_http(doors: Doors, case: str) -> None:
    door, question, status, words = REFUSED[case]
    told, error = doors.refused(door, **question)
    assert (told, words in error) == (status, True), error


@pytest.mark.parametrize("case", [c for c in REFUSED if c != "no numbers"])
def test_what_is_wrong_is_said_over_grpc(doors: Doors, case: str) -> None:
    door, question, status, words = REFUSED[case]
    call = {"/predict": doors.stub.Predict, "/forecast": doors.stub.Forecast, "/explain": doors.stub.Explain}[door]
    kind = {"/predict": pb.PredictRequest, "/forecast": pb.ForecastRequest, "/explain": pb.ExplainRequest}[door]
    features = [pb.Row(values=row) for row in question.get("features", [])]
    with pytest.raises(grpc.RpcError) as caught:
        call(kind(**{**question, **({"features": features} if "features" in question else {})}))
    assert caught.value.code().name == {400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}[status]
    assert words in caught.value.details()


def test_a_body_that_is_too_large_is_refused_before_it_is_read(doors: Doors) -> None:
    large = b'{"features": [' + b" " * 30_000_000
    assert doors.http.post("/predict", content=large).status_code == 413
    assert doors.http.post("/predict", content=iter([large[:15_000_000]] * 2)).status_code == 413
    assert doors.http.post("/predict", content=b"{").status_code == 400


def test_grpc_tells_its_schema_and_its_health(doors: Doors) -> None:
    found = ProtoReflectionDescriptorDatabase(doors.channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(found.get_services())
    methods = DescriptorPool(found).FindServiceByName(SERVICE).methods_by_name
    assert set(methods) == {"Predict", "Forecast", "Explain"}
    assert methods["Explain"].output_type.full_name == "forewarn.predictor.v1.ExplainResponse"
    health = health_pb2_grpc.HealthStub(doors.channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    wait_for(lambda: health.Check(health_pb2.HealthCheckRequest(service=SERVICE)).status == serving, 10)


def test_http_tells_its_state_its_numbers_and_its_schema(doors: Doors) -> None:
    for door in ("/healthz", "/livez", "/readyz"):
        assert doors.http.get(door).status_code == 200
    doors.ask("/predict", features=[])
    numbers = doors.http.get("/metrics").text
    assert "forewarn_predictor_champion_batches_total" in numbers
    assert 'endpoint="/predict"' in numbers
    assert set(doors.http.get("/docs.json").json()["paths"]) >= {"/predict", "/forecast", "/explain", "/status"}
    page = doors.http.get("/").text
    assert "swagger-ui" in page
    assert "googletagmanager" not in page
    status = doors.ask("/status")
    assert status["feature_names"] == list(FEATURE_NAMES)
    assert (status["model_version"], status["shadow_version"]) == (FirstDayScorer().version, None)


EXAMPLES = re.findall(
    r"```(python|bash)\n(.*?)```", (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_docs_run(doors: Doors, number: int) -> None:
    language, text = EXAMPLES[number]
    tool = sys.executable if language == "python" else shutil.which(text.split()[0])
    if tool is None:
        pytest.skip(f"{text.split()[0]} is not installed")
    told = text.replace("127.0.0.1:3000", f"127.0.0.1:{doors.http_port}")
    told = told.replace("127.0.0.1:3001", f"127.0.0.1:{doors.grpc_port}")
    command = [tool, "-c", told] if language == "python" else ["bash", "-euo", "pipefail", "-c", told]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout

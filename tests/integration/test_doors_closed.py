"""The doors with TLS, rate limits and scrubbing: a gateway and a dashboard as processes, a predictor's middleware."""

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from grpc_health.v1 import health_pb2, health_pb2_grpc
from integration.processes import service, wait_until
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from servers import free_port

from forewarn.services.token_cache import TokenCache
from forewarn.stores.tokens import PostgresTokens
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_logs import decode_logs

NOON = 1_767_614_400 * 10**9
TOKEN = "general-token"


@dataclass
class Door:
    """A gateway with TLS."""

    http: httpx.Client
    grpc: grpc.Channel
    port: int
    broker: str

    def bodies(self) -> str:
        """All bodies on the topic of logs."""
        reader = Consumer({"bootstrap.servers": self.broker, "group.id": "test", "enable.auto.commit": False})
        reader.assign([TopicPartition(topics.LOGS, p, 0) for p in range(4)])
        found = []
        while (message := reader.poll(2)) is not None:
            if not message.error():
                found += [record.body for record in decode_logs(message.value())]
        reader.close()
        return "\n".join(found)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of this machine and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


@pytest.fixture(scope="module")
def door(broker: str, certificate: tuple[Path, Path]) -> Iterator[Door]:
    http, over_grpc = free_port(), free_port()
    settings = {
        "kafka_bootstrap": broker, "gateway_port": str(http), "gateway_grpc_port": str(over_grpc),
        "gateway_token": TOKEN, "postgres_url": "postgresql://nobody@127.0.0.1:1/none",
        "tls_certificate_file": str(certificate[0]), "tls_key_file": str(certificate[1]),
        "gateway_door_tokens": "logs=logs-token", "gateway_rate_requests": "0.05", "gateway_rate_bytes": "200000",
    }  # fmt: skip
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    channel = grpc.secure_channel(f"127.0.0.1:{over_grpc}", grpc.ssl_channel_credentials(certificate[0].read_bytes()))
    with (
        service("forewarn.services.gateway", **settings),
        httpx.Client(base_url=f"https://127.0.0.1:{http}", verify=trusted, trust_env=False, timeout=30) as client,
        channel,
    ):
        wait_until(lambda: _ready(client), 90, "the gateway")
        yield Door(client, channel, http, broker)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _logs(body: str) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=NOON, body=AnyValue(string_value=body))
    return request


def test_tls_over_http_and_grpc_scrubs_and_limits(door: Door) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    answer = door.http.post("/v1/logs/json", json={"message": "json password=hunter2"}, headers=bearer)
    assert answer.status_code == 200, answer.text
    again = door.http.post("/v1/logs/json", json={"message": "too soon"}, headers=bearer)
    assert again.status_code == 429
    assert 1 <= int(again.headers["retry-after"]) <= 20
    LogsServiceStub(door.grpc).Export(
        _logs("grpc ann@example.org"), metadata=[("authorization", "bearer logs-token")], timeout=30
    )
    bodies = door.bodies()
    assert "json password=[redacted:password]" in bodies
    assert "grpc [redacted:email]" in bodies
    counted = door.http.get("/metrics").text
    assert 'forewarn_gateway_scrubbed_total{rule="password"} 1.0' in counted
    assert 'forewarn_gateway_scrubbed_total{rule="email"} 1.0' in counted
    assert 'forewarn_gateway_scrubbed_total{rule="jwt"} 0.0' in counted
    assert door.http.post("/v1/logs/json", json={}, headers={"authorization": "Bearer x"}).status_code == 401
    assert 'forewarn_gateway_requests_total{door="logs_json",status="429"} 1.0' in door.http.get("/metrics").text


def test_without_tls_nothing_is_said(door: Door) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{door.port}/healthz", trust_env=False, timeout=10)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{door.port}/healthz", trust_env=False, timeout=10)


def test_half_a_certificate_is_refused_at_the_start(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    for key, reason in (("", "go together"), (str(certificate[0]), "cannot be used")):
        settings = {"FOREWARN_TLS_CERTIFICATE_FILE": str(certificate[0])} | (
            {"FOREWARN_TLS_KEY_FILE": key} if key else {}
        )
        ended = subprocess.run(
            [sys.executable, "-m", "forewarn.services.gateway"], env=os.environ | settings, cwd=tmp_path,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 1
        assert reason in ended.stderr


def test_dashboard_over_tls(postgres_url: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "postgres_url": postgres_url, "home": str(tmp_path), "dashboard_port": str(port),
        "tls_certificate_file": str(certificate[0]), "tls_key_file": str(certificate[1]),
    }  # fmt: skip
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with service("panel_app", **settings), httpx.Client(verify=trusted, trust_env=False, timeout=30) as client:

        def answers() -> bool:
            try:
                return client.get(f"https://127.0.0.1:{port}/healthz").status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(answers, 120, "the dashboard over TLS")


def test_questions_need_a_token_to_read(postgres_url: str) -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from bentos.predictor.answers import Answers
    from bentos.predictor.grpc_server import GrpcServer
    from bentos.predictor.proto import predictor_pb2 as pb
    from bentos.predictor.proto import predictor_pb2_grpc as pb_grpc
    from bentos.predictor.read_token import ReadToken

    with psycopg.connect(postgres_url) as connection:
        reader = PostgresTokens(connection).create("r", ["read"], "tests")[1]
        writer = PostgresTokens(connection).create("w", ["write"], "tests")[1]
    routes = [Route(path, lambda request: PlainTextResponse("ok")) for path in ("/readyz", "/status")]

    async def over_http(tokens: TokenCache) -> list[int]:
        transport = httpx.ASGITransport(ReadToken(Starlette(routes=routes), tokens))
        asked = [("/readyz", ""), ("/status", ""), ("/status", writer), ("/status", reader)]
        async with httpx.AsyncClient(transport=transport, base_url="http://predictor") as client:
            return [(await client.get(p, headers={"authorization": f"Bearer {t}"})).status_code for p, t in asked]

    async def over_grpc(tokens: TokenCache) -> list[grpc.StatusCode]:
        server = GrpcServer("127.0.0.1:0", Answers(lambda: None, {}, 10), lambda: True, tokens)  # type: ignore[arg-type]
        found = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            for token in ("", writer, reader):
                rows = [pb.Row(values=[1.0])] if hasattr(pb, "Row") else []
                try:
                    await pb_grpc.PredictorStub(channel).Predict(
                        pb.PredictRequest(features=rows), metadata=[("authorization", f"Bearer {token}")], timeout=30
                    )
                    found.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    found.append(error.code())
        await server.stop()
        return found

    with TokenCache(postgres_url, 0.1) as cache:
        wait_until(lambda: cache.known, 60, "the first reading")
        assert asyncio.run(over_http(cache)) == [200, 401, 403, 200]
        codes = asyncio.run(over_grpc(cache))
    assert codes[:2] == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
    assert codes[2] not in codes[:2]  # it came to the question itself

"""`python -m forewarn.services.gateway`: serves the doors until SIGTERM or SIGINT."""

import ipaddress
import socket
import sys

import structlog
import uvicorn

from forewarn.config.settings import Settings
from forewarn.config.tls import scheme, server_certificate
from forewarn.services.gateway.app import Gateway
from forewarn.services.gateway.delivery import Delivery
from forewarn.services.gateway.meters import Meters
from forewarn.services.gateway.patience import PatientProtocol
from forewarn.services.gateway.tokens import settings_tokens
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import begin, stop_event
from forewarn.services.token_cache import TokenCache
from forewarn.stores.log import create_topics
from forewarn.telemetry.otlp_check import check
from forewarn.telemetry.otlp_split import REQUESTS
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest
from forewarn.telemetry.remote_write import decode_write_request
from forewarn.telemetry.scrub_rules import ScrubError, load_rules

logger = structlog.get_logger("forewarn.services.gateway")


def main() -> None:
    """Listen on `bind_host:gateway_port`; exits with a sentence where that is not possible or not safe."""
    settings = begin("gateway")
    refuse_open_door(settings)
    try:
        load_rules(settings.scrub)
    except ScrubError as error:
        sys.exit(f"gateway: FOREWARN_SCRUB: {error}. `forewarn scrub check FILE` says whether a file can be used.")
    try:
        certificate = server_certificate(settings)
    except ValueError as error:
        sys.exit(f"gateway: {error}")
    listener = _listen(settings.bind_host, settings.gateway_port)
    try:
        create_topics(settings.kafka_bootstrap, settings.kafka_partitions)
    except TimeoutError as error:
        sys.exit(f"gateway: {error}")
    compile_doors()
    meters = Meters()
    tokens = TokenCache(settings.postgres_url.get_secret_value())
    gateway = Gateway(settings, Delivery(settings.kafka_bootstrap, settings.kafka_partitions), meters, tokens)
    server = uvicorn.Server(
        uvicorn.Config(
            gateway.app(),
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=8,
            limit_concurrency=1000,
            server_header=False,
            ssl_certfile=certificate.certificate if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
    )
    heartbeat = Heartbeat(settings.postgres_url.get_secret_value(), "gateway", socket.gethostname())
    heartbeat.counters = meters.counters
    stop_event()  # uvicorn stops at a signal and raises it again; this takes it, so that the exit code is 0
    with heartbeat, tokens:
        logger.info("gateway listens", address=f"{scheme(settings)}://{settings.bind_host}:{settings.gateway_port}")
        server.run(sockets=[listener])


def compile_doors() -> None:
    """Before the first request comes, which would wait: the compiled parts, from their cache after the first start."""
    for signal, request in REQUESTS.items():
        check(signal, b"", request())
    labels = [Label(name="__name__", value="x").SerializeToString()]
    series = TimeSeries(labels=labels, samples=[Sample(value=1.0, timestamp=1)])
    decode_write_request(WriteRequest(timeseries=[series]).SerializeToString())


def refuse_open_door(settings: Settings) -> None:
    """Exit if the gateway would be open to the network without a token, or its tokens cannot be read."""
    try:
        has_token = settings_tokens(settings).required
    except ValueError as error:
        sys.exit(f"gateway: {error}")
    if not has_token and not _is_loopback(settings.bind_host):
        sys.exit(
            f"gateway: FOREWARN_BIND_HOST is {settings.bind_host}, which others can reach, and there is no token: "
            "anyone could write telemetry. Set FOREWARN_GATEWAY_TOKEN (senders show it as a Bearer token), or "
            "FOREWARN_REQUIRE_TOKEN=true and make tokens with `forewarn tokens create`, or bind to 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        sys.exit(
            f"gateway: cannot listen on {host}:{port} ({error.strerror}). Is another gateway running? "
            "Set FOREWARN_GATEWAY_PORT to a free port."
        )


if __name__ == "__main__":
    main()

"""Sends OTLP requests to a gateway over HTTP, and tries again while it is away or busy."""

import ssl
from types import TracebackType
from typing import Self

import httpx
import structlog
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from forewarn.telemetry.retry_after import BusyError, retry_after, wait_as_asked

log = structlog.get_logger(__name__)

_RETRY_STATUS = frozenset({429, 502, 503, 504})  # what the OTLP specification calls retryable
_wait = wait_as_asked(wait_random_exponential(multiplier=0.2, max=5))
_LONGEST_WAIT = 30.0  # seconds


class SendError(Exception):
    """Telemetry did not reach the gateway; the message says what to do."""


class GatewayUnreachableError(SendError):
    """No gateway answered, or it stayed busy, for as long as the sender was told to wait."""


class GatewayRefusedError(SendError):
    """The gateway answered that it does not take this: sending it again would not help."""


class OtlpSender:
    """One connection to a gateway. Use as a context manager; not for several threads at once.

    gateway_url: `http://127.0.0.1:4318`, without `/v1/…`.
    patience_seconds: how long one request is tried again while the gateway is away or says 503 / 429
        (`Retry-After` is honoured), before GatewayUnreachableError.
    first_patience_seconds: the same for the first request, whose address may be wrong.
    trust: which certificates are accepted; None: those of the system, or of SSL_CERT_FILE.
    """

    def __init__(
        self,
        gateway_url: str,
        token: str | None = None,
        *,
        patience_seconds: float = 60.0,
        first_patience_seconds: float = 5.0,
        timeout_seconds: float = 30.0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.gateway_url = gateway_url.rstrip("/")
        self.requests = 0
        self.retries = 0
        self.bytes_sent = 0
        self.rejected = 0  # samples, log records and spans that the gateway said it left out
        self._patience, self._first_patience = patience_seconds, first_patience_seconds
        headers = {"Content-Type": "application/x-protobuf"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            base_url=self.gateway_url, headers=headers, timeout=timeout_seconds, trust_env=False,
            verify=trust or ssl.create_default_context(),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def send_metrics(self, body: bytes) -> None:
        """Send an ExportMetricsServiceRequest. Raises SendError."""
        self._post("/v1/metrics", body)

    def send_logs(self, body: bytes) -> None:
        """Send an ExportLogsServiceRequest. Raises SendError."""
        self._post("/v1/logs", body)

    def send_spans(self, body: bytes) -> None:
        """Send an ExportTraceServiceRequest. Raises SendError."""
        self._post("/v1/traces", body)

    def _post(self, path: str, body: bytes) -> None:
        patience = self._patience if self.requests else self._first_patience
        retrying = Retrying(
            retry=retry_if_exception_type((BusyError, httpx.TransportError)),
            wait=_wait,
            stop=stop_after_delay(patience),
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            response = retrying(self._once, path, body)
        except httpx.TransportError as error:
            if is_of_tls(error):
                raise GatewayUnreachableError(
                    f"no TLS connection to {self.gateway_url} ({_reason(error)}): "
                    f"`forewarn doctor --gateway {self.gateway_url}` says how it is mended"
                ) from error
            raise GatewayUnreachableError(
                f"no gateway answers at {self.gateway_url} ({_reason(error)}); tried for {patience:g} s. "
                "Is it running? Start it with 'forewarn up', or name another with --gateway URL."
            ) from error
        except BusyError as error:
            raise GatewayUnreachableError(
                f"the gateway at {self.gateway_url} took nothing for {patience:g} s: {error}. "
                "Look at 'forewarn status': is the broker up?"
            ) from error
        self.requests += 1
        self.bytes_sent += len(body)
        self._count_rejected(path, response)

    def _once(self, path: str, body: bytes) -> httpx.Response:
        response = self._client.post(path, content=body)
        if response.status_code in _RETRY_STATUS:
            raise BusyError(f"{response.status_code} {_explanation(response)}", retry_after(response, _LONGEST_WAIT))
        if response.status_code in (401, 403):
            raise GatewayRefusedError(
                f"the gateway at {self.gateway_url} does not accept this token ({response.status_code}). "
                "Give the one of FOREWARN_GATEWAY_TOKEN with --token."
            )
        if response.status_code == 404:
            raise GatewayRefusedError(f"{self.gateway_url}{path} does not exist: is this a Forewarn gateway's address?")
        if response.is_error or response.is_redirect:
            raise GatewayRefusedError(
                f"the gateway at {self.gateway_url} refused {path}: {response.status_code} {_explanation(response)}"
            )
        return response

    def _count_retry(self, state: RetryCallState) -> None:
        self.retries += 1
        if state.attempt_number == 1 and state.outcome is not None:
            log.warning(
                "the gateway is away or busy, trying again",
                gateway=self.gateway_url,
                reason=_reason(state.outcome.exception()),
            )

    def _count_rejected(self, path: str, response: httpx.Response) -> None:
        if not response.content or "protobuf" not in response.headers.get("content-type", ""):
            return
        try:
            rejected, message = _partial_success(path, response.content)
        except DecodeError:
            return  # a success whose details cannot be read is still a success
        if rejected:
            self.rejected += rejected
            log.warning("the gateway left something out", rejected=rejected, reason=message, path=path)


def is_of_tls(error: BaseException | None) -> bool:
    """Whether a request failed because no TLS connection came about."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


def _partial_success(path: str, content: bytes) -> tuple[int, str]:
    if path == "/v1/metrics":
        metrics = ExportMetricsServiceResponse.FromString(content).partial_success
        return int(metrics.rejected_data_points), str(metrics.error_message)
    if path == "/v1/logs":
        logs = ExportLogsServiceResponse.FromString(content).partial_success
        return int(logs.rejected_log_records), str(logs.error_message)
    spans = ExportTraceServiceResponse.FromString(content).partial_success
    return int(spans.rejected_spans), str(spans.error_message)


def _explanation(response: httpx.Response) -> str:
    """What the gateway said, readable also where it is a google.rpc.Status in protobuf."""
    printable = "".join(c for c in response.text if c.isprintable() or c == " ")
    return printable.strip()[:300]


def _reason(error: BaseException | None) -> str:
    return str(error) or type(error).__name__

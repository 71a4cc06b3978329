"""Readings through the OpenTelemetry SDK to the gateway: one resource for each entity, one request for all."""

import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource
from requests.adapters import HTTPAdapter

from forewarn.services.collector.readings import Instrument, Reading
from forewarn.telemetry.samples import resource_of

_log = structlog.get_logger(__name__)
_TIMEOUT_SECONDS = 5.0


class Export:
    """Sends readings of entities that come and go.

    endpoint: `http://…/v1/metrics`. trusted: makes what an https endpoint's certificate is held against; it is asked
    again when the gateway is away, and raises ValueError where a file cannot be read. A gateway that is away loses what
    was read meanwhile, as with any live collector: the gap is visible as one.
    """

    def __init__(self, endpoint: str, token: str | None, host: str, trusted: Callable[[], ssl.SSLContext]) -> None:
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # this class says it, once
        headers = {"Authorization": f"Bearer {token}"} if token else None
        self._session = requests.Session()
        self._endpoint, self._host, self._trusted = endpoint, host, trusted
        self._trust()
        self._exporter = OTLPMetricExporter(
            endpoint, headers=headers, timeout=_TIMEOUT_SECONDS, session=self._session
        )  # fmt: skip
        self._meters: dict[str, _EntityMeter] = {}
        self._away = False

    def send(self, readings: Mapping[str, Iterable[Reading]]) -> bool:
        """Send readings by entity; whether the gateway took them."""
        for entity in set(self._meters) - set(readings):
            self._meters.pop(entity).close()
        resources: list[ResourceMetrics] = []
        for entity, mine in readings.items():
            if entity not in self._meters:  # each that is made is remembered by the SDK for good
                self._meters[entity] = _EntityMeter(entity, self._host)
            resources += self._meters[entity].collect(mine)
        taken = self._exporter.export(MetricsData(resources)) is MetricExportResult.SUCCESS
        self._say(taken)
        if not taken:
            self._trust()  # the file may have been renewed
        return taken

    def close(self) -> None:
        """End a request that waits for the gateway, and send no more."""
        self._exporter.shutdown()

    def _trust(self) -> None:
        if self._endpoint.startswith("https:"):
            with contextlib.suppress(ValueError):  # while it is being replaced
                self._session.mount("https://", _Door(self._trusted()))

    def _say(self, taken: bool) -> None:
        if taken and self._away:
            _log.info("the gateway takes telemetry again")
        if not taken and not self._away:
            _log.warning("the gateway does not take telemetry, going on without", endpoint=self._endpoint)
        self._away = not taken


class _Door(HTTPAdapter):
    """Connects to servers that this context trusts, and compares their names only where it does."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        named = None if self._context.check_hostname else False
        return host, {"ssl_context": self._context, "assert_hostname": named}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context as it is: requests would add the certificates of all the world."""


class _EntityMeter:
    """The SDK's meter of one entity; instruments are made when a signal is read for the first time."""

    def __init__(self, entity: str, host: str) -> None:
        self._reader = InMemoryMetricReader()
        resource = Resource({**resource_of(entity), "host.name": host})
        self._provider = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter("forewarn.collector")
        self._now: dict[str, list[Reading]] = {}
        self._known: set[str] = set()

    def collect(self, readings: Iterable[Reading]) -> list[ResourceMetrics]:
        """The readings as the SDK's data."""
        self._now = {}
        for reading in readings:
            self._now.setdefault(reading.signal, []).append(reading)
        for signal in self._now.keys() - self._known:
            self._create(self._now[signal][0])
        data = self._reader.get_metrics_data()
        return list(data.resource_metrics) if data is not None else []

    def close(self) -> None:
        self._provider.shutdown()

    def _create(self, like: Reading) -> None:
        makers: dict[Instrument, Callable[..., Any]] = {
            Instrument.GAUGE: self._meter.create_observable_gauge,
            Instrument.UP_DOWN_COUNTER: self._meter.create_observable_up_down_counter,
            Instrument.COUNTER: self._meter.create_observable_counter,
        }

        def observe(options: CallbackOptions) -> list[Observation]:
            return [Observation(r.value, dict(r.attributes)) for r in self._now.get(like.signal, ())]

        makers[like.instrument](like.signal, callbacks=[observe], unit=like.unit)
        self._known.add(like.signal)

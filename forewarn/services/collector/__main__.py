"""`python -m forewarn.services.collector`: reads and sends every few seconds until SIGTERM or SIGINT."""

import os
import socket
import threading
import time
from functools import partial

import structlog

from forewarn.config.doors import gateway_url
from forewarn.config.running import running
from forewarn.config.settings import Settings
from forewarn.config.tls import trust, trust_ours
from forewarn.services.collector.database import Database, Told
from forewarn.services.collector.export import Export
from forewarn.services.collector.host import read_host
from forewarn.services.collector.processes import ProcessTrees
from forewarn.services.collector.readings import Reading
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import configure_logging, stop_event
from forewarn.services.metrics import MetricsServer

NAMESPACE = "local"
_log = structlog.get_logger(__name__)
_NAMES = {"postgres": "postgresql"}  # of the stack's services, where their entity is called otherwise


class Collector:
    """Reads this host and the stack that runs on it."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._settings, self._host = settings, host
        self._trees = ProcessTrees()
        self._database = Database(settings.postgres_url.get_secret_value(), host)

    def read(self) -> dict[str, list[Reading]]:
        """Readings by entity."""
        told = self._database.read()
        limits = {"broker": self._settings.broker_memory_bytes}
        readings = {_entity(name): found for name, found in self._trees.read(self._roots(told), limits).items()}
        for service, lag in told.lags.items():
            readings.setdefault(_entity(service), []).append(lag)
        readings.setdefault(_entity("postgres"), []).extend(told.readings)
        readings[f"{NAMESPACE}/{self._host}"] = read_host(self._settings.home)
        return {entity: found for entity, found in readings.items() if found}

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _roots(self, told: Told) -> dict[str, int]:
        """Processes by name: of the stack's state file, else those that the services' heartbeats tell, and this one."""
        state = running(self._settings.home)
        if state is None:
            return {**told.pids, "collector": os.getpid()}
        services = {each.name: each.pid for each in state.services if each.pid is not None}
        return {**services, "supervisor": state.pid, "collector": os.getpid()}


def main() -> None:
    """Run the collector with the settings of the environment."""
    settings = Settings()
    configure_logging(settings)
    stop = stop_event()
    host = socket.gethostname()
    _go_direct_to_loopback()
    export = export_of(settings, host)
    threading.Thread(target=_close_at, args=(stop, export), daemon=True).start()
    collector = Collector(settings, host)
    with (
        Heartbeat(settings.postgres_url.get_secret_value(), "collector", host) as heartbeat,
        MetricsServer(settings, "collector", heartbeat.counters),
    ):
        _log.info("collector reads this host", entity=f"{NAMESPACE}/{host}", every=settings.collector_interval_seconds)
        run(collector, export, settings.collector_interval_seconds, stop, heartbeat.counters)
    collector.close()


def export_of(settings: Settings, host: str) -> Export:
    """To the gateway of the settings; OpenTelemetry's own variables are about our spans, and must not get our token."""
    url, certificate = settings.collector_endpoint, settings.tls_certificate_file
    trusted = partial(trust, settings) if url or certificate is None else partial(trust_ours, certificate)
    token = settings.gateway_token.get_secret_value() if settings.gateway_token else None
    return Export(f"{(url or gateway_url(settings)).rstrip('/')}/v1/metrics", token, host, trusted)


def run(
    collector: Collector, export: Export, interval_seconds: float, stop: threading.Event, counters: dict[str, float]
) -> None:
    """Read and send every `interval_seconds` until `stop` is set; `counters` tells what was done."""
    counters |= {"samples_total": 0.0, "failed_requests_total": 0.0}
    due = time.monotonic()
    while not stop.wait(max(due - time.monotonic(), 0.0)):
        due = max(due + interval_seconds, time.monotonic())
        readings = collector.read()
        if export.send(readings):
            counters["samples_total"] += sum(map(len, readings.values()))
        else:
            counters["failed_requests_total"] += 1


def _close_at(stop: threading.Event, export: Export) -> None:
    """A request that waits for the gateway must not hold up the end."""
    stop.wait()
    export.close()


def _entity(name: str) -> str:
    return f"{NAMESPACE}/{_NAMES.get(name, name)}"


def _go_direct_to_loopback() -> None:
    """A proxy of the environment must not get what is sent to this host."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1", "localhost"]))


if __name__ == "__main__":
    main()

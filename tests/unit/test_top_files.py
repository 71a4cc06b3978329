"""The files at the top of the repository agree with the code."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forewarn.config.example import example
from forewarn.config.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = {f"FOREWARN_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: s for name, s in compose["services"].items() if s["image"].startswith("forewarn:")}


def test_env_example_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text() == example(), "run: make env-example"


def test_env_example_changes_nothing_when_every_line_is_taken_in(tmp_path: Path) -> None:
    lines = re.findall(r"^# (FOREWARN_[A-Z_]+=\S.*)$", example().split("\n# Read from the environment only")[0], re.M)
    (tmp_path / ".env").write_text("\n".join(lines))
    assert Settings(_env_file=tmp_path / ".env") == Settings(_env_file=None)
    assert {line.split("=")[0] for line in lines} | {"FOREWARN_GATEWAY_TOKEN"} <= SETTINGS


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_compose_names_settings_that_exist(compose: dict[str, Any]) -> None:
    used = {v for s in ours(compose).values() for v in s["environment"] if v.startswith("FOREWARN_")}
    assert used
    assert used <= SETTINGS


def test_compose_starts_modules_that_exist(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        modules = re.findall(r"python[ ,\"']+-m[ ,\"']+([\w.]+)", " ".join(service["command"]))
        assert modules, name
        for module in modules:
            assert importlib.util.find_spec(module) is not None, f"{name}: {module}"


def test_compose_publishes_the_ports_that_the_services_listen_on(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        told = [int(v) for k, v in service["environment"].items() if k.endswith("_PORT")]
        published = [int(port.rsplit(":", 1)[1]) for port in service.get("ports", [])]
        assert published == told, name
        in_command = re.findall(r"--port\s+(\d+)", " ".join(service["command"]))
        if in_command and published:
            assert {int(p) for p in in_command} <= set(published), name


def test_compose_knows_every_service_of_the_embedded_stack(compose: dict[str, Any], tmp_path: Path) -> None:
    from forewarn.services.stack.plan import make_plan

    plan = make_plan(Settings(home=tmp_path, kafka_log_topics="syslog", _env_file=None))
    elsewhere = {"broker": "redpanda", "postgres": "timescaledb", "mailbox": None}
    expected = {elsewhere.get(s.name, s.name) for s in (*plan.services, *plan.skipped)} - {None}
    assert expected == set(compose["services"])
    for needed in (n for s in compose["services"].values() for n in s.get("depends_on", {})):
        assert needed in compose["services"]


def test_makefile_targets_are_there_and_listed() -> None:
    told = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    for target in ("install", "demo", "test", "check", "lock", "bench", "screenshots", "clean"):
        assert f"make {target} " in told


def test_install_says_clearly_that_python_is_the_wrong_one(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    told = subprocess.run(["make", "install", "PYTHON="], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode != 0
    assert "needs Python 3.11" in told.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {canonicalize_name(line.split("==")[0].split("[")[0]) for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {canonicalize_name(Requirement(text).name) for text in asked} <= locked

"""The files at the top of the repository agree with the code."""

import re
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forewarn.config.example import example
from forewarn.config.reference import reference
from forewarn.config.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = {f"FOREWARN_{name.upper()}" for name in Settings.model_fields}


def test_env_example_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text() == example(), "run: make env-example"


def test_env_example_changes_nothing_when_every_line_is_taken_in(tmp_path: Path) -> None:
    lines = re.findall(r"^# (FOREWARN_[A-Z_]+=\S.*)$", example().split("\n# Read from the environment only")[0], re.M)
    (tmp_path / ".env").write_text("\n".join(lines))
    assert Settings(_env_file=tmp_path / ".env") == Settings(_env_file=None)
    assert {line.split("=")[0] for line in lines} | {"FOREWARN_GATEWAY_TOKEN"} <= SETTINGS


def test_the_configuration_page_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference(), "run: make env-example"


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


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

"""The benchmarks as a set: what cannot run is said, and stops nothing else."""

import importlib
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is installed, with two benchmarks; its Python fails at `first`."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / ".venv/.installed.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    (tmp_path / ".venv/.installed.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    python.write_text('#!/bin/sh\necho "ran $2"\n[ "$2" != benchmarks.first ]\n')
    python.chmod(0o755)
    (tmp_path / "benchmarks").mkdir()
    helpers = [name for name in ("__init__", "data", "parts", "report") if (ROOT / f"benchmarks/{name}.py").is_file()]
    for name in ("first", "second", "soak", "spark", "chaos", *helpers):
        (tmp_path / "benchmarks" / f"{name}.py").touch()
    return tmp_path


def test_a_benchmark_that_fails_stops_no_other_and_is_named(project: Path) -> None:
    told = subprocess.run(["make", "bench"], cwd=project, capture_output=True, text=True)
    ran = [line for line in told.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["ran benchmarks.first", "ran benchmarks.second"]
    assert told.returncode != 0
    assert "failed: first" in told.stderr


def test_benchmarks_that_take_hours_are_left_out_and_said(project: Path) -> None:
    (project / "benchmarks/first.py").unlink()
    told = subprocess.run(["make", "bench"], cwd=project, capture_output=True, text=True)
    assert told.returncode == 0
    assert "ran benchmarks.soak" not in told.stdout and "ran benchmarks.spark" not in told.stdout
    assert "left out: soak" in told.stdout and "spark" in told.stdout


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("capacity", ["jumpstarter", "smd"]),
        ("detectors", ["smd", "asd", "jumpstarter"]),
        ("realruns", []),
        ("log_surprise", []),
    ],
)
def test_a_benchmark_without_its_data_says_that_it_is_skipped(
    name: str, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setenv("FOREWARN_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", [name, *(["--set", *sets] if sets else [])])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == max(len(sets), 1)
    assert all(line.startswith("skipped: ") for line in lines)


def test_results_name_no_folder_of_one_run(tmp_path: Path) -> None:
    from rich.console import Console

    from benchmarks.model_lifecycle.end_to_end import Life, World

    life = Life(tmp_path, World(), Console(quiet=True))
    life.note("rolled back", f"it cannot be loaded: {tmp_path}/bentoml/models/hazard.txt differs")
    assert life.steps[-1].reason == "it cannot be loaded: bentoml/models/hazard.txt differs"
    assert not [path for path in (ROOT / "benchmarks/results").glob("*.json") if "/tmp/" in path.read_text()]

"""Writes Dagster's home: an instance on our PostgreSQL, and a workspace whose code servers the stack runs itself."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class CodeLocation:
    """A module with Dagster definitions, from workspace.yaml."""

    name: str
    module: str


def code_locations(workspace: Path) -> list[CodeLocation]:
    """The Python modules that a workspace file loads.

    Raises ValueError for an entry of another kind, for the stack starts each location's code server by its module.
    """
    entries = (yaml.safe_load(workspace.read_text()) or {}).get("load_from") or []
    return [_location(workspace, entry) for entry in entries]


def _location(workspace: Path, entry: dict[str, Any]) -> CodeLocation:
    if "python_module" not in entry:
        raise ValueError(f"{workspace}: expected python_module, found {', '.join(entry)}")
    told = entry["python_module"]
    module = told if isinstance(told, str) else told["module_name"]
    return CodeLocation((told if isinstance(told, dict) else {}).get("location_name", module), module)


def write_dagster_home(folder: Path, locations: dict[CodeLocation, int], host: str) -> Path:
    """Write dagster.yaml and a workspace of gRPC servers (location → port); the workspace's path.

    One code server for each location instead of one for each of webserver, daemon and location: 200 to 400 MB less
    for each that is not there twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    instance = {
        "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "concurrency": {"runs": {"max_concurrent_runs": 1}},
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 300, "free_slots_after_run_end_seconds": 30},
        "run_retries": {"enabled": False},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(folder)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(folder / "compute_logs")},
        },
    }
    servers = [
        {"grpc_server": {"host": host, "port": port, "location_name": location.name}}
        for location, port in locations.items()
    ]
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance, sort_keys=False))
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": servers}, sort_keys=False))
    return workspace


def main() -> None:
    """Write $DAGSTER_HOME for a code server that runs elsewhere, in a container of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--code", metavar="HOST:PORT", required=True)
    host, _, port = parser.parse_args().code.rpartition(":")
    location = CodeLocation("monitor_assets.definitions", "monitor_assets.definitions")
    write_dagster_home(Path(os.environ["DAGSTER_HOME"]), {location: int(port)}, host)


if __name__ == "__main__":
    main()

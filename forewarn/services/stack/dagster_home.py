"""Writes Dagster's home: an instance on our PostgreSQL, and a workspace whose code servers the stack runs itself."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from forewarn.config.settings import Settings


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


def write_dagster_home(folder: Path, locations: dict[CodeLocation, int], host: str, merged: Path | None = None) -> Path:
    """Write dagster.yaml and a workspace of gRPC servers (location → port); the workspace's path.

    One code server for each location instead of one for each of webserver, daemon and location: 200 to 400 MB less
    for each that is not there twice. merged: a YAML file whose top-level keys replace ours in dagster.yaml.
    """
    folder.mkdir(parents=True, exist_ok=True)
    servers = [
        {"grpc_server": {"host": host, "port": port, "location_name": location.name}}
        for location, port in locations.items()
    ]
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance_of(folder, merged), sort_keys=False))
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": servers}, sort_keys=False))
    return workspace


def instance_of(folder: Path, merged: Path | None = None) -> dict[str, Any]:
    """What stands in dagster.yaml: our PostgreSQL by DAGSTER_POSTGRES_URL, files below the folder, no usage reports.

    Raises ValueError where the file that is to be merged holds no mapping.
    """
    more = yaml.safe_load(merged.read_text()) if merged else {}
    if not isinstance(more, dict):
        raise ValueError(f"{merged}: expected the keys of a dagster.yaml, such as run_launcher")
    ours = {
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
    return ours | more


def main() -> None:
    """Write $DAGSTER_HOME for a code server in a container of its own, then become the command after `--`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--code", metavar="HOST:PORT", default="127.0.0.1:4266")
    parser.add_argument("--show", action="store_true", help="print dagster.yaml and end")
    parser.add_argument("--database", default="dagster", help="Dagster's database, on the server of ours")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    arguments = parser.parse_args()
    settings, home = Settings(), Path(os.environ["DAGSTER_HOME"])
    if arguments.show:
        print(yaml.safe_dump(instance_of(home, settings.dagster_instance), sort_keys=False), end="")
        return
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("which command is to run? … -- python -m dagster_webserver …")
    host, _, port = arguments.code.rpartition(":")
    location = CodeLocation("monitor_assets.definitions", "monitor_assets.definitions")
    write_dagster_home(home, {location: int(port)}, host, settings.dagster_instance)
    url = urlsplit(settings.postgres_url.get_secret_value())._replace(path=f"/{arguments.database}")
    # in the environment of this command alone: the password stands in no file and in no container's description
    os.execvpe(command[0], command, {"DAGSTER_POSTGRES_URL": urlunsplit(url), **os.environ})


if __name__ == "__main__":
    main()

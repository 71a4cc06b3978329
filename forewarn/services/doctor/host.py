"""Mistakes on this host: names of settings, permissions, room, limits, ports, versions."""

import difflib
import os
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from forewarn.config.running import running
from forewarn.config.settings import SECRETS, Settings
from forewarn.services.doctor.finding import Finding, ok, warning, wrong

_OTHER = {"FOREWARN_DEBUG", "FOREWARN_DATA", "FOREWARN_QUIX_PYTHON"}
_ROOM_BYTES = 2 * 2**30
_FILES = 1024


def examine_host(settings: Settings) -> Iterator[Finding]:
    """Everything that needs no other process."""
    yield _python()
    yield from _names()
    yield _permissions()
    yield _home(settings.home)
    yield _room(settings.home)
    yield _files()
    yield _exposure(settings)
    yield from _ports(settings)


def _python() -> Finding:
    told = sys.version.split()[0]
    if sys.version_info[:2] != (3, 11):
        return wrong("Python", told, "Forewarn runs on Python 3.11: make install PYTHON=/path/to/python3.11")
    return ok("Python", told)


def _names() -> Iterator[Finding]:
    known = {f"FOREWARN_{name.upper()}" for name in Settings.model_fields} | _OTHER
    told = {name for name in os.environ if name.startswith("FOREWARN_")} | _of_file(Path(".env"))
    for name in sorted(told - known):
        near = difflib.get_close_matches(name, known, 1)
        mend = f"did you mean {near[0]}?" if near else "take it out, or see .env.example for those that there are"
        yield warning("Settings", f"{name} is no setting: it has no effect", mend)
    if not told - known:
        yield ok("Settings", f"{len(told)} set, all of them known")


def _of_file(file: Path) -> set[str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    names = {line.partition("=")[0].removeprefix("export ").strip() for line in lines if "=" in line}
    return {name for name in names if name.startswith("FOREWARN_")}


def _permissions() -> Finding:
    secrets = (file for folder in SECRETS if folder.is_dir() for file in folder.iterdir())
    files = [file for file in (Path(".env"), *secrets) if file.is_file()]
    for file in files:
        if not os.access(file, os.R_OK):
            return wrong("Secrets", f"{file} cannot be read by this user", f"chown or chmod u+r {file}")
        if file.name == ".env" and stat.S_IMODE(file.stat().st_mode) & stat.S_IROTH:
            return warning("Secrets", f"everybody on this host can read {file}", f"chmod 600 {file}")
    return ok("Secrets", f"{len(files)} files, readable as they should be")


def _home(home: Path) -> Finding:
    folder = home.absolute()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        return wrong("Home", f"{folder} cannot be written", "set FOREWARN_HOME to a folder of this user")
    return ok("Home", str(folder))


def _room(home: Path) -> Finding:
    folder = next(p for p in (home.absolute(), *home.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    told = f"{free / 2**30:.1f} GiB free below {folder}"
    return (
        ok("Room", told) if free > _ROOM_BYTES else warning("Room", told, "make room, or set FOREWARN_RETENTION_DAYS")
    )


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        return warning("Open files", f"at most {soft} for a process", "ulimit -n 4096, or LimitNOFILE= of the unit")
    return ok("Open files", f"{soft} for a process")


def _exposure(settings: Settings) -> Finding:
    if settings.bind_host in ("127.0.0.1", "localhost", "::1"):
        return ok("Exposure", "servers listen on loopback only")
    if settings.gateway_token is None and settings.gateway_door_tokens is None:
        return wrong(
            "Exposure",
            f"servers listen on {settings.bind_host} and the gateway asks for no token",
            "set FOREWARN_GATEWAY_TOKEN (openssl rand -hex 24)",
        )
    return ok("Exposure", f"servers listen on {settings.bind_host}, senders need a token")


def _ports(settings: Settings) -> Iterator[Finding]:
    if running(settings.home) is not None:
        return  # taken by ourselves
    names = ("gateway_port", "gateway_grpc_port", "predictor_port", "dashboard_port", "dagster_port")
    taken = [name for name in names if _is_taken(settings.bind_host, getattr(settings, name))]
    for name in taken:
        yield warning(
            "Ports",
            f"{getattr(settings, name)} (FOREWARN_{name.upper()}) is taken by another process",
            "stop it (ss -ltnp shows it), or set another port",
        )
    if not taken:
        yield ok("Ports", "all free, nothing runs here yet")


def _is_taken(host: str, port: int) -> bool:
    if not port:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False

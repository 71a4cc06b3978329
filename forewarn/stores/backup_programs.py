"""Finds and runs PostgreSQL's own programs, of a version that fits the server."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from forewarn.stores.backup_archive import BackupError


@dataclass(frozen=True)
class Program:
    """pg_dump or pg_restore."""

    path: str
    major: int


def program(name: str, at_least: int, folders: Sequence[Path]) -> Program:
    """pg_dump or pg_restore of this major version of PostgreSQL, else the oldest newer one.

    folders: where to look beside PATH and Debian's. Raises BackupError where there is none.
    """
    places = [*folders, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    paths = [str(place / name) for place in places if (place / name).is_file()] + [shutil.which(name) or ""]
    found = [Program(path, _major(path)) for path in paths if path]
    fitting = [each for each in found if each.major >= at_least]
    if not fitting:
        there = ", ".join(f"{each.path} ({each.major})" for each in found) or "none"
        raise BackupError(f"{name} of PostgreSQL {at_least} or newer is needed; there is {there}: install its client")
    return min(fitting, key=lambda each: each.major)


def _major(path: str) -> int:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)[.\d]*", told)
    return int(number[1]) if number else 0


@contextmanager
def running(
    command: list[str], postgres_url: str, errors: IO[bytes], stdin: int | None = None, stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that is ended with the block. The password goes by its environment: command lines can be read."""
    password = conninfo_to_dict(postgres_url).get("password")
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {}), "PGAPPNAME": "backup"}
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=errors, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def without_password(postgres_url: str) -> str:
    parts = {key: value for key, value in conninfo_to_dict(postgres_url).items() if key != "password"}
    return make_conninfo("", **parts)

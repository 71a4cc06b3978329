"""What a command of back-up works on: the home's settings, files and a database that answers."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from forewarn.config.settings import Settings
    from forewarn.stores.backup_files import Source

_FILES = ("alerting", "rules", "responses", "scrub", "dagster_instance")  # settings that name a file of a team's own


def program_folders() -> list[Path]:
    """Where the wheel of the embedded server has pg_dump and pg_restore; nowhere without it."""
    from forewarn.services.stack.postgres import programs

    try:
        return [programs()]
    except RuntimeError:
        return []


def model_store(home: Path) -> Path:
    """The folder of BentoML's model store."""
    return Path(os.environ.get("BENTOML_HOME") or home / "bentoml")


@contextmanager
def database_settings(console: Console, home: Path | None, needs_database: bool) -> "Iterator[Settings]":
    """Settings with the address of a database that answers: the stack's own is started where it does not run."""
    from forewarn.cli.up import start_in_background, stop
    from forewarn.config.running import client_settings, running

    settings = client_settings(home)
    if not needs_database or "postgres_url" in settings.model_fields_set or running(settings.home) is not None:
        yield settings
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    with console.status("Starting PostgreSQL of this home …"):
        process, _ = start_in_background(Console(quiet=True), settings.home, only="postgres", ends_with_parent=True)
    try:
        yield client_settings(settings.home)
    finally:
        stop(process)


def source_of(settings: "Settings", without: set[str], with_secrets: bool, home: Path | None) -> "Source":
    """What is to be saved of this home, but for the parts in `without`."""
    from forewarn.stores.backup import PARTS
    from forewarn.stores.backup_files import KEYS, Source

    folder = settings.home.resolve()
    plain, secret = _assignments(settings, home)
    config: dict[str, bytes | Path] = {}
    secrets: dict[str, bytes | Path] = {}
    if "config" not in without:
        named = {name: getattr(settings, name) for name in _FILES}
        paths = {name: Path(value) for name, value in named.items() if value and Path(value).is_file()}
        config = {f"{name}{path.suffix}": path for name, path in paths.items()} | (
            {"settings.env": plain} if plain else {}
        )
    if with_secrets:
        secrets = {key: folder / key for key in KEYS if (folder / key).is_file()}
        secrets |= {"secrets.env": secret} if secret else {}
        if settings.dashboard_users and settings.dashboard_users.is_file():
            secrets["dashboard_users"] = settings.dashboard_users
    return Source(folder, model_store(folder), frozenset(PARTS) - without, config, secrets)


def _assignments(settings: "Settings", home: Path | None) -> tuple[bytes, bytes]:
    """Settings that were set, as lines of a `.env`: those that are no secrets, and those that are."""
    from forewarn.config.running import settings_with_sources
    from forewarn.services.stack.environment import settings_environment

    names = [name for name, source in settings_with_sources(home)[1].items() if source in ("environment", ".env")]
    secret = {name for name, field in type(settings).model_fields.items() if "SecretStr" in str(field.annotation)}

    def lines(chosen: set[str]) -> bytes:
        found: Mapping[str, str] = settings_environment(settings, chosen - {"home"})
        return "".join(f"{key}={value}\n" for key, value in found.items()).encode()

    return lines(set(names) - secret), lines(set(names) & secret)

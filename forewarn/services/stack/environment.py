"""The environment of the stack's processes: settings as they are in force, few threads, no usage reporting."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import SecretStr

from forewarn.config.settings import Settings

_QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "FEAST_USAGE": "False",
    "ANONYMIZED_TELEMETRY": "False",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def settings_environment(settings: Settings, names: Iterable[str] = tuple(Settings.model_fields)) -> dict[str, str]:
    """`FOREWARN_*` variables from which `Settings()` reads these settings again, secrets included."""
    return {
        f"FOREWARN_{name.upper()}": _text(value)
        for name in sorted(names)
        if (value := getattr(settings, name)) is not None
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def process_environment(settings: Settings, dagster_url: str, source: Path) -> dict[str, str]:
    """What every process of the stack gets; `source` is the folder that holds the packages."""
    home = settings.home
    threads = {name: os.environ.get(name, "2") for name in _THREADS}
    own = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH", "")))),
        "BENTOML_HOME": str(home / "bentoml"),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_POSTGRES_URL": dagster_url,
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "GIT_PYTHON_REFRESH": "quiet",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),  # else each arena keeps memory of short threads
    }
    inherited: Mapping[str, str] = os.environ
    return {**inherited, **_QUIET, **threads, **own, **settings_environment(settings)}

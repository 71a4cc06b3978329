"""Which code trained a model: the commit where there is one, the package's version otherwise."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version(folder: Path = Path(__file__).parents[2]) -> str:
    """'0.1.0+g3bf7de5' or '0.1.0+g3bf7de5-dirty' in a checkout, '0.1.0' elsewhere."""
    try:
        package = version("forewarn")
    except PackageNotFoundError:
        package = "0"
    if not (folder / ".git").exists():
        return package
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return package
    return f"{package}+g{commit}"

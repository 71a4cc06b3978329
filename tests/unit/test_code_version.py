"""A training tells which code it ran: the commit in a checkout, the package's version elsewhere."""

import subprocess
from importlib.metadata import version
from pathlib import Path

from monitor_assets.registry.code_version import code_version


def test_the_commit_is_told_where_there_is_one(tmp_path: Path) -> None:
    package = version("forewarn")
    assert code_version(tmp_path) == package
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run([*git, "init", "-q"], check=True)
    assert code_version(tmp_path) == package  # no commit yet
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    commit = code_version(tmp_path)
    assert commit.startswith(f"{package}+g") and not commit.endswith("-dirty")
    (tmp_path / "a").write_text("2")
    assert code_version(tmp_path) == f"{commit}-dirty"

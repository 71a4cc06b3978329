"""Whatever page, template or message names a command names one that there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from forewarn.cli.app import app

ROOT = Path(__file__).parents[3]
PLACES = ("README.md", "docs/**/*.md", "panel_app/**/*.html", "panel_app/**/*.py", "forewarn/**/*.py",
          "forewarn/**/*.j2", "monitor_assets/**/*.py", "sensors/**/*.py", "deploy/**/*.y*ml")  # fmt: skip
NAMED = re.compile(r"(?:`|<code>|^\s*(?:\$ )?)forewarn ([a-z][a-z-]*)(?: ([a-z][a-z-]+))?(?![\w-])", re.MULTILINE)


def commands_of(group: Any) -> dict[str, Any]:
    """Commands of a group by name; none of a command that is no group."""
    if not hasattr(group, "list_commands"):
        return {}
    context = typer.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every command with its subcommands."""
    return {name: set(commands_of(command)) for name, command in commands_of(get_command(app)).items()}


def test_named_commands_exist(commands: dict[str, set[str]]) -> None:
    unknown, seen = [], 0
    for path in sorted({file for place in PLACES for file in ROOT.glob(place)}):
        for name, word in NAMED.findall(path.read_text()):
            seen += 1
            if name not in commands or (commands[name] and word and word not in commands[name]):
                unknown.append(f"{path.relative_to(ROOT)}: forewarn {name} {word}".rstrip())
    assert seen > 100
    assert not unknown

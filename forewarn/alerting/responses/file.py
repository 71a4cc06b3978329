"""Reads a file of responses and says line and column of what is wrong in it."""

import stat
from collections.abc import Iterator, Set
from pathlib import Path

import yaml

from forewarn.alerting.policy_file import PolicyError, Problem, problem_at, read_model, said_twice
from forewarn.alerting.responses.response import ResponsesFile
from forewarn.alerting.rules.syntax import near


def load_responses(path: Path, labels: Set[str] | None = None) -> ResponsesFile:
    """Raises PolicyError, and OSError or UnicodeDecodeError where the file cannot be read.

    A file with commands that everybody may write is refused: whoever writes it runs programs as the alerter.
    """
    file = parse_responses(path.read_text(encoding="utf-8"), path.name, labels)
    if any(one.command for one in file.responses) and path.stat().st_mode & stat.S_IWOTH:
        text = f"everybody may write this file, and it has commands: chmod o-w {path}"
        raise PolicyError(path.name, [Problem(1, 1, "", text)])
    return file


def parse_responses(text: str, name: str = "responses.yaml", labels: Set[str] | None = None) -> ResponsesFile:
    """The responses of a text. labels: those that a matcher may use, None where that is not known.

    Raises PolicyError with the line and column of all that is wrong.
    """
    return read_model(
        text, name, ResponsesFile, "the file must have 'responses:', see docs/responses.md",
        after=lambda file, root: _contradictions(file, root, labels),
    )  # fmt: skip


def _contradictions(file: ResponsesFile, root: yaml.Node, labels: Set[str] | None) -> Iterator[Problem]:
    """What is well formed, but said twice or names a label that there is not."""
    yield from said_twice(root, "responses", "response", [one.name for one in file.responses])
    for number, one in enumerate(file.responses):
        for label in one.match:
            if labels is not None and label not in labels:
                text = f"there is no label '{label}'{near(label, labels)}"
                yield problem_at(root, ("responses", number, "match", label), text)

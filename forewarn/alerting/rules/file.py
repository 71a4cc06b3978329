"""Reads a file of rules and says line and column of what is wrong in it."""

from collections.abc import Iterator, Set
from pathlib import Path

import yaml

from forewarn.alerting.policy_file import Problem, problem_at, read_model, said_twice
from forewarn.alerting.rules.rule import RulesFile
from forewarn.alerting.rules.syntax import ConditionError, near, parse


def load_rules(path: Path, channels: Set[str] | None = None) -> RulesFile:
    """Raises PolicyError, and OSError or UnicodeDecodeError where the file cannot be read."""
    return parse_rules(path.read_text(encoding="utf-8"), path.name, channels)


def parse_rules(text: str, name: str = "rules.yaml", channels: Set[str] | None = None) -> RulesFile:
    """The rules of a text. channels: those of the alerting file, None where it is not known.

    Raises PolicyError with the line and column of all that is wrong.
    """
    return read_model(
        text, name, RulesFile, "the file must have 'rules:', see docs/rules.md",
        lambda root: _conditions(root), lambda file, root: _contradictions(file, root, channels),
    )  # fmt: skip


def _conditions(root: yaml.Node) -> Iterator[Problem]:
    """Conditions that cannot be used, at their place inside the line."""
    for number, rule in enumerate(_sequence(_entry(root, "rules"))):
        when = _entry(rule, "when")
        if not isinstance(when, yaml.ScalarNode) or when.tag == "tag:yaml.org,2002:null":
            continue
        try:
            parse(str(when.value))
        except ConditionError as error:
            mark = when.start_mark
            one_line = when.style in (None, "'", '"') and when.end_mark.line == mark.line
            column = mark.column + 1 + (error.column + bool(when.style) if one_line else 0)
            yield Problem(mark.line + 1, column, f"rules.{number}.when", str(error))


def _contradictions(file: RulesFile, root: yaml.Node, channels: Set[str] | None) -> Iterator[Problem]:
    """What is well formed, but said twice or names something that does not exist."""
    yield from said_twice(root, "rules", "rule", [rule.name for rule in file.rules])
    for number, rule in enumerate(file.rules):
        for place, channel in enumerate(rule.channels or ()):
            if channels is not None and channel not in channels:
                text = f"there is no channel '{channel}'{near(channel, channels)}"
                yield problem_at(root, ("rules", number, "channels", place), text)


def _entry(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []

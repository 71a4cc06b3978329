"""Reads the alerting file and says line and column of what is wrong in it."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from forewarn.alerting.policy import Policy, RouteSpec

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a file; line and column count from 1."""

    line: int
    column: int
    where: str
    text: str

    def at(self, name: str) -> str:
        """`alerting.yaml:12:5: route.channels.0: there is no channel 'slak'`."""
        return f"{name}:{self.line}:{self.column}: {f'{self.where}: ' if self.where else ''}{self.text}"


class PolicyError(ValueError):
    """The file cannot be used; `problems` are all that were found, in the order of lines."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.at(name) for problem in self.problems))


class _Loader(yaml.SafeLoader):
    """Times of day, dates and numbers with colons stay text: `09:00` is not 540."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null")]
    + ([("tag:yaml.org,2002:int", _INT)] if first in "-+0123456789" else [])
    for _INT in [__import__("re").compile(r"[-+]?(?:0|[1-9][0-9]*)$")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

# what the library raises; the plain errors are of tags such as !!int, whose value is something else
_NO_YAML = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError)


def load_policy(path: Path) -> Policy:
    """Raises PolicyError, and OSError where the file cannot be read."""
    return parse_policy(path.read_text(encoding="utf-8"), path.name)


def parse_policy(text: str, name: str = "alerting.yaml") -> Policy:
    """The policy of a text. Raises PolicyError with the line and column of all that is wrong."""
    return read_model(
        text, name, Policy, "the file must have 'channels:' and 'route:', see docs/alerting.md",
        after=lambda policy, root: (problem_at(root, loc, said) for loc, said in _contradictions(policy)),
    )  # fmt: skip


def _nothing(root: yaml.Node) -> Iterator[Problem]:
    return iter(())


def read_model(
    text: str,
    name: str,
    model: type[M],
    needed: str,
    before: Callable[[yaml.Node], Iterator[Problem]] = _nothing,
    after: Callable[[M, yaml.Node], Iterator[Problem]] = lambda model, root: iter(()),
) -> M:
    """A YAML text as a model. before: problems that are seen in the tree; after: in the model.

    Raises PolicyError with the line and column of all that is wrong; `needed` says what a file without a mapping lacks.
    """
    try:
        root = yaml.compose(text, _Loader)
        doubled = list(_doubled_keys(root))
    except _NO_YAML as error:
        raise PolicyError(name, [_no_yaml(error)]) from error
    if not isinstance(root, yaml.MappingNode):
        raise PolicyError(name, [Problem(1, 1, "", needed)])
    found = doubled or list(before(root))
    if found:
        raise PolicyError(name, found)
    try:
        data = _Loader("").construct_document(root)
    except _NO_YAML as error:
        raise PolicyError(name, [_no_yaml(error)]) from None  # the cause may hold a value, and that may be a secret
    try:
        read = model.model_validate(data)
    except ValidationError as error:
        problems = [problem_at(root, e["loc"], _words(e)) for e in error.errors()]
        raise PolicyError(name, problems) from None  # the cause holds the values, and one may be a secret
    contradictions = list(after(read, root))
    if contradictions:
        raise PolicyError(name, contradictions)
    return read


def _no_yaml(error: Exception) -> Problem:
    """What the YAML library says, at its place where it knows one."""
    if not isinstance(error, yaml.MarkedYAMLError):
        said = "a value does not fit its tag"
        if isinstance(error, RecursionError):
            said = "it is nested too deeply, or in itself"
        elif isinstance(error, yaml.YAMLError):
            said = str(error)[:200]
        return Problem(1, 1, "", f"this is no YAML: {said}")
    mark = error.problem_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    tagged = isinstance(error, yaml.constructor.ConstructorError) and "the tag '!" in str(error.problem)
    hint = ": a text that begins with '!' needs quotes" if tagged else ""
    return Problem(line, column, "", f"this is no YAML: {error.problem}{hint}")


def _contradictions(policy: Policy) -> Iterator[tuple[Loc, str]]:
    """What is well formed, but names something that does not exist."""
    channels, labels = set(policy.channels), policy.known_labels()
    yield from _of_route(policy.route, ("route",), channels, labels, inherits=False)
    for number, rule in enumerate(policy.inhibit):
        for side in ("source", "target"):
            yield from _unknown_labels(getattr(rule, side), ("inhibit", number, side), labels)
        for place, label in enumerate(rule.equal):
            if label not in labels:
                yield ("inhibit", number, "equal", place), _unknown("label", label, labels)
    for number, window in enumerate(policy.maintenance):
        yield from _unknown_labels(window.match, ("maintenance", number, "match"), labels)


def _of_route(
    route: RouteSpec, loc: Loc, channels: set[str], labels: set[str], inherits: bool
) -> Iterator[tuple[Loc, str]]:
    if route.channels is None and not inherits:
        yield loc, "the first route needs 'channels': it takes what no other route does"
    yield from _unknown_labels(route.match, (*loc, "match"), labels)
    if not inherits and route.match:
        yield (*loc, "match"), "the first route must take everything: put matchers into 'routes' below it"
    for place, channel in enumerate(route.channels or ()):
        if channel not in channels:
            yield (*loc, "channels", place), _unknown("channel", channel, channels)
    for number, step in enumerate(route.escalate or ()):
        for place, channel in enumerate(step.to):
            if channel not in channels:
                yield (*loc, "escalate", number, "to", place), _unknown("channel", channel, channels)
    for place, label in enumerate(route.group_by or ()):
        if label not in labels | {"incident", "all"}:
            yield (*loc, "group_by", place), _unknown("label", label, labels | {"incident", "all"})
    for number, child in enumerate(route.routes):
        yield from _of_route(child, (*loc, "routes", number), channels, labels, inherits=True)


def _unknown_labels(match: dict[str, Any], loc: Loc, labels: set[str]) -> Iterator[tuple[Loc, str]]:
    for name in match:
        if name not in labels:
            yield (*loc, name), _unknown("label", name, labels)


def _unknown(what: str, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f"there is no {what} '{name}'" + (
        f": did you mean '{near[0]}'?" if near else f" (there are: {', '.join(sorted(known))})"
    )


def _words(error: Any) -> str:
    """pydantic's message in the words of a file."""
    if error["type"] == "extra_forbidden":
        return "this is not known here: docs/alerting.md (of rules: docs/rules.md) says what is"
    if error["type"] == "missing":
        return "this is needed and missing"
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1:] == ("secret",):
        return (
            "this names a secret of FOREWARN_ALERTING_SECRETS (a-z, 0-9, -, _); the secret itself is never written here"
        )
    return str(error["msg"]).removeprefix("Value error, ")


def said_twice(root: yaml.Node, section: str, what: str, names: Sequence[str]) -> Iterator[Problem]:
    """Entries of a section whose name one before them has: `there is a rule 'disk' already, number 1`."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            text = f"there is a {what} '{name}' already, number {first[name] + 1}"
            yield problem_at(root, (section, number, "name"), text)


def problem_at(root: yaml.Node, loc: Loc, text: str) -> Problem:
    """A problem at the deepest node of this path that there is."""
    node, walked = root, list[str]()
    for step in loc:
        found = _child(node, step)
        if found is None:
            break
        node, walked = found, [*walked, str(step)]
    missing = [str(step) for step in loc[len(walked) :]] if "missing" in text else []
    mark = node.start_mark
    return Problem(mark.line + 1, mark.column + 1, ".".join([*walked, *missing[:1]]), text)


def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value if not isinstance(value, yaml.ScalarNode) or value.value else key
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    return None


def _doubled_keys(node: yaml.Node | None, loc: tuple[str, ...] = ()) -> Iterator[Problem]:
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            yield from _doubled_keys(child, (*loc, str(number)))
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            mark = key.start_mark
            yield Problem(
                mark.line + 1, mark.column + 1, ".".join([*loc, name]), f"this is written already in line {seen[name]}"
            )
        seen.setdefault(name, key.start_mark.line + 1)
        yield from _doubled_keys(value, (*loc, name))

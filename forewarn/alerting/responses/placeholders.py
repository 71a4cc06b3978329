"""Placeholders: where text from telemetry may stand in a request or a command, and what it may be."""

import re
from collections.abc import Mapping
from typing import Any

NAMES = (
    "entity", "namespace", "name", "signal", "mode", "severity", "state", "incident", "title", "probability",
    "seconds_left", "url", "run",
)  # fmt: skip
LABEL = "label."
LONGEST = 1000
_PLACEHOLDER = re.compile(r"\{([a-z_]+|label\.[A-Za-z_][A-Za-z0-9_.-]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Variables by which a program loads or runs something else.
_LOADERS = re.compile(
    r"PATH|IFS|ENV|BASH_ENV|SHELLOPTS|PS4|LD_.*|DYLD_.*|PYTHON.*|PERL.*|RUBY.*|NODE_.*|GIT_.*|HOME|SHELL|EDITOR|PAGER"
)


class ValueRefused(ValueError):  # noqa: N818  # it is an answer about a value, not a fault
    """A value from telemetry that may not stand where the response wants it."""


def whole(text: str) -> str | None:
    """The name where the whole text is a placeholder: `{entity}` -> 'entity'."""
    found = _PLACEHOLDER.fullmatch(text)
    return found[1] if found else None


def check_value(text: str, where: str) -> None:
    """Raises ValueError for an unknown placeholder, or one that is only a part of the text."""
    for found in _PLACEHOLDER.finditer(text):
        if found.group() != text:
            raise ValueError(f"{where}: {found.group()} must stand alone, not inside '{text}'")
        _check_name(found[1], where)
    if "\0" in text:
        raise ValueError(f"{where} holds a NUL")


def check_environment(variables: Mapping[str, str]) -> None:
    """Raises ValueError for a name that is none, or a placeholder where a program would load something by it."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"env: '{name}' is no name of a variable")
        check_value(value, f"env: {name}")
        if whole(value) and _LOADERS.fullmatch(name):
            raise ValueError(f"env: {name} decides what is run: no placeholder may stand there")


def check_body(body: Any, where: str = "body") -> None:
    """Raises ValueError for an unknown placeholder in a body; in JSON one may be a part of a text."""
    if isinstance(body, str):
        for found in _PLACEHOLDER.finditer(body):
            _check_name(found[1], where)
    elif isinstance(body, Mapping):
        for key, value in body.items():
            check_body(value, f"{where}.{key}")
    elif isinstance(body, list):
        for number, value in enumerate(body):
            check_body(value, f"{where}.{number}")


def fill_argument(argument: str, values: Mapping[str, str]) -> str:
    """An argument; what comes of a placeholder never looks like an option. Raises ValueRefused."""
    name = whole(argument)
    if name is None:
        return argument
    value = _plain(name, values)
    if value.startswith("-"):
        raise ValueRefused(f"{{{name}}} is '{value[:80]}', which a program would take for an option")
    if not value:
        raise ValueRefused(f"{{{name}}} is empty here")
    return value


def fill_variable(text: str, values: Mapping[str, str]) -> str:
    """The value of a variable. Raises ValueRefused."""
    name = whole(text)
    return text if name is None else _plain(name, values)


def fill_body(body: Any, values: Mapping[str, str]) -> Any:
    """A body with its texts filled; JSON keeps each where it stands."""
    if isinstance(body, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), body)
    if isinstance(body, Mapping):
        return {str(key): fill_body(value, values) for key, value in body.items()}
    return [fill_body(value, values) for value in body] if isinstance(body, list) else body


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """All values as `FOREWARN_ENTITY`, …, for scripts. Raises ValueRefused."""
    return {f"FOREWARN_{name.upper()}": _plain(name, values) for name in NAMES}


def _plain(name: str, values: Mapping[str, str]) -> str:
    value = values.get(name, "")
    if len(value) > LONGEST or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueRefused(f"{{{name}}} is longer than {LONGEST} characters or holds control characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueRefused(f"{{{name}}} is no text in UTF-8") from None
    return value


def _check_name(name: str, where: str) -> None:
    if name not in NAMES and not name.startswith(LABEL):
        raise ValueError(f"{where}: there is no placeholder '{{{name}}}': there are {', '.join(NAMES)}, label.NAME")

"""What may stand in a condition: its text becomes a checked tree, or an error with its place."""

import ast
import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from forewarn.alerting.durations import parse_duration
from forewarn.alerting.rules.facts import ANY, SATURATION
from forewarn.risk.catalogue import catalogue

LONGEST_TEXT, MOST_NODES, LONGEST_WINDOW = 2000, 200, 3600.0
QUANTILES = ("p10", "p50", "p90")
WINDOWED = ("mean", "min", "max", "rate")
# Arguments of each function; those after the star may be left out.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "value": ("signal",),
    "limit": ("signal",),
    **dict.fromkeys(WINDOWED, ("signal", "duration")),
    "probability": ("mode", "duration"),
    "time_to_failure": ("quantile", "*mode"),
}
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Call,
    ast.Name, ast.Load, ast.Attribute, ast.Constant, ast.Tuple, ast.List,
)  # fmt: skip
# Digits of a duration become letters of one place each, so that columns stay what they are in the file.
_TO_LETTERS = str.maketrans("0123456789.", "αβγδεζηθικο")
_TO_DIGITS = str.maketrans("αβγδεζηθικο", "0123456789.")
_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+"
_TOKEN = re.compile(rf"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![\w.])({_DURATION})(?![\w.])""")
_FOR = re.compile(rf"\s+for\s+({_DURATION})\s*$")
_SELECTOR = re.compile(r"(?P<signal>[^{}\s]+)(?:\{(?P<attributes>[^{}]*)\})?")


class ConditionError(ValueError):
    """A condition cannot be used; column counts from 0 in its text."""

    def __init__(self, text: str, column: int = 0) -> None:
        super().__init__(text)
        self.column = column


@dataclass(frozen=True, slots=True)
class Tree:
    """A checked condition. for_seconds: of a trailing `for 10m`, None where there is none."""

    body: ast.expr
    for_seconds: float | None


@lru_cache(maxsize=1)
def modes() -> tuple[str, ...]:
    """Names that `probability` and `time_to_failure` take."""
    return (ANY, SATURATION, *dict.fromkeys(entry.mode for entry in catalogue()))


def parse(text: str) -> Tree:
    """The tree of a condition's text. Raises ConditionError."""
    if len(text) > LONGEST_TEXT:
        raise ConditionError(f"a condition has at most {LONGEST_TEXT} characters, this one has {len(text)}")
    trailing = _FOR.search(text)
    shown = text[: trailing.start()] if trailing else text
    plain = _without_durations(re.sub(r"[\r\n\t\f\v]", " ", shown))
    indent = len(plain) - len(plain.lstrip(" "))
    plain = plain.strip(" ")
    if not plain:
        raise ConditionError("the condition is empty")
    try:
        tree = ast.parse(plain, mode="eval")
        nodes = list(ast.walk(tree))
    except SyntaxError as error:
        raise ConditionError(
            f"this cannot be read: {error.msg}", indent + (error.offset - 1 if error.offset else len(plain))
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise ConditionError("this cannot be read: it is nested too deeply or holds what is no text") from None
    if len(nodes) > MOST_NODES:
        raise ConditionError(f"the condition is too long: {len(nodes)} parts where {MOST_NODES} are allowed")
    _Check(plain, indent).all(nodes)
    return Tree(tree.body, parse_duration(trailing.group(1)).total_seconds() if trailing else None)


def duration_of(node: ast.expr) -> float | None:
    """Seconds of a name that was a duration in the text; None for another node."""
    if not isinstance(node, ast.Name):
        return None
    text = node.id.translate(_TO_DIGITS)
    return parse_duration(text).total_seconds() if text != node.id and re.fullmatch(_DURATION, text) else None


def selector(text: str) -> tuple[str, dict[str, str]]:
    """`signal{key=value}` -> (signal, {key: value}). Raises ValueError."""
    found = _SELECTOR.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no signal: write name or name{{key=value}}")
    pairs = [pair.partition("=") for pair in (found["attributes"] or "").split(",") if pair]
    if not all(key and middle for key, middle, _ in pairs):
        raise ValueError(f"'{text}' is no signal: attributes are written key=value")
    return found["signal"], {key.strip(): value.strip() for key, _, value in pairs}


def near(name: str, known: Iterable[str]) -> str:
    """`: did you mean 'value'?`, or what there is."""
    names = sorted(known)
    found = difflib.get_close_matches(name, names, 1)
    return f": did you mean '{found[0]}'?" if found else f" (there are: {', '.join(names)})" if names else ""


def _without_durations(text: str) -> str:
    return _TOKEN.sub(lambda m: m.group(0).translate(_TO_LETTERS) if m.group(1) else m.group(0), text)


@dataclass(frozen=True, slots=True)
class _Check:
    """Refuses whatever is not known."""

    text: str
    indent: int

    def all(self, nodes: list[ast.AST]) -> None:
        calls = [n for n in nodes if isinstance(n, ast.Call)]
        spoken_for = {id(c.func) for c in calls} | {id(a) for c in calls for a in c.args}
        spoken_for |= {id(n.value) for n in nodes if isinstance(n, ast.Attribute)}
        for node in nodes:
            if not isinstance(node, _ALLOWED):
                raise self.error(node, f"'{type(node).__name__.lower()}' is not allowed in a condition")
            self._one(node, spoken_for)
        if not any(True for _ in calls):
            raise ConditionError(f"the condition looks at nothing: use {', '.join(FUNCTIONS)}", self.indent)

    def _one(self, node: ast.AST, spoken_for: set[int]) -> None:
        if isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "entity"):
                raise self.error(node, "only entity has a dot: entity.name, .namespace or a label of the alerting file")
            if node.attr.startswith("_"):
                raise self.error(node, f"entity has no '{node.attr}'")
        elif isinstance(node, ast.Name) and id(node) not in spoken_for:
            self._name(node)
        elif isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float):
            raise self.error(node, "only numbers, texts and durations are allowed")
        elif isinstance(node, ast.BinOp) and (_is_text(node.left) or _is_text(node.right)):
            raise self.error(node, "texts can be compared, not calculated with")

    def _name(self, node: ast.Name) -> None:
        try:
            if node.id == "entity" or duration_of(node) is not None:
                return
        except ValueError as error:
            raise self.error(node, str(error)) from None
        if node.id in FUNCTIONS:
            raise self.error(node, f"'{node.id}' is a function: write {usage(node.id)}")
        raise self.error(node, f"there is no '{node.id}'{near(node.id, [*FUNCTIONS, 'entity'])}")

    def _call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name):
            raise self.error(node, "only the functions of rules can be called")
        name = node.func.id
        if name not in FUNCTIONS:
            raise self.error(node, f"there is no function '{name}'{near(name, FUNCTIONS)}")
        wanted = FUNCTIONS[name]
        least = sum(not w.startswith("*") for w in wanted)
        if node.keywords or not least <= len(node.args) <= len(wanted):
            raise self.error(node, f"{name} is written {usage(name)}")
        for argument, kind in zip(node.args, wanted, strict=False):
            self._argument(argument, kind.lstrip("*"), name)

    def _argument(self, node: ast.expr, kind: str, function: str) -> None:
        if kind == "duration":
            self._duration(node, function)
            return
        if kind == "signal":
            self._signal(node, function)
            return
        word = _word(node)
        known = QUANTILES if kind == "quantile" else modes()
        if word not in known:
            shown = word or ast.unparse(node)[:20]
            raise self.error(node, f"there is no {kind} '{shown}'{near(word or '', known)}")

    def _signal(self, node: ast.expr, function: str) -> None:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self.error(node, f"{function} takes a signal in quotes: {usage(function)}")
        try:
            selector(node.value)
        except ValueError as error:
            raise self.error(node, str(error)) from None

    def _duration(self, node: ast.expr, function: str) -> None:
        try:
            seconds = duration_of(node)
        except ValueError as error:
            raise self.error(node, str(error)) from None
        if not seconds:
            raise self.error(node, f"{function} takes a duration such as 10m or 3h: {usage(function)}")
        if function in WINDOWED and seconds > LONGEST_WINDOW:
            raise self.error(node, f"{function} looks back at most {LONGEST_WINDOW / 3600:g}h")

    def error(self, node: ast.AST, text: str) -> ConditionError:
        """With its column; that of the tree counts bytes."""
        offset = getattr(node, "col_offset", 0)
        return ConditionError(text, self.indent + len(self.text.encode()[:offset].decode(errors="ignore")))


def usage(function: str) -> str:
    """`probability(mode, duration)` with an example."""
    examples = {"signal": "'system.memory.usage'", "duration": "10m", "mode": "any", "quantile": "p50"}
    shown = [examples[kind] for kind in FUNCTIONS[function] if not kind.startswith("*")]
    return f"{function}({', '.join(shown)})"


def calls(tree: ast.expr) -> Iterator[tuple[str, list[ast.expr]]]:
    """Functions that a checked tree calls, in the order in which they are written."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    for node in sorted(found, key=lambda n: n.col_offset):
        assert isinstance(node.func, ast.Name)
        yield node.func.id, node.args


def word(node: ast.expr) -> str:
    """A name or text as text; of an argument that was checked."""
    found = _word(node)
    assert found is not None
    return found


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _word(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

"""A condition of a rule: which telemetry it needs, and whether it holds for a subject."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from simpleeval import DEFAULT_OPERATORS, InvalidExpression, SimpleEval

from forewarn.alerting.rules.facts import ANY, STALE, Reading, Subject, UnknownError
from forewarn.alerting.rules.syntax import WINDOWED, Tree, calls, duration_of, parse, selector, word
from forewarn.risk.quantities import format_duration, format_share, format_value
from forewarn.telemetry.samples import namespace_of

_OPERATORS = {
    node: DEFAULT_OPERATORS[node]
    for node in (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.UAdd, ast.Not, ast.Eq, ast.NotEq, ast.Lt, ast.LtE,
                 ast.Gt, ast.GtE, ast.In, ast.NotIn)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read for a condition: signals (the first is the one whose series it is evaluated for), windows."""

    signals: tuple[str, ...]
    windows: tuple[tuple[str, float], ...]  # (signal, seconds)
    risks: bool
    labels: tuple[str, ...]  # entity.NAME
    first: tuple[str, Mapping[str, str]] | None = None  # with the attributes that it was named with


@dataclass(frozen=True, slots=True)
class Verdict:
    """holds: None where it cannot be said. said: what the functions answered, in words. why: what is unknown."""

    holds: bool | None
    said: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Condition:
    """Checked text; nothing of it is ever run by Python's own `eval`."""

    text: str
    tree: Tree = field(compare=False, repr=False)
    needs: Needs = field(compare=False, repr=False)

    @classmethod
    def of(cls, text: str) -> "Condition":
        """Raises ConditionError."""
        tree = parse(text)
        return cls(text, tree, _needs(tree.body))

    def verdict(self, subject: Subject) -> Verdict:
        """Whether it holds now; never raises."""
        evaluation = _Evaluation(subject)
        try:
            holds = bool(evaluation.run(self.tree.body))
        except UnknownError as error:
            return Verdict(None, tuple(evaluation.said), str(error))
        except ZeroDivisionError:
            return Verdict(None, tuple(evaluation.said), "a division by zero")
        except (InvalidExpression, ArithmeticError, TypeError, ValueError, RecursionError, MemoryError) as error:
            return Verdict(None, tuple(evaluation.said), f"it cannot be calculated: {error}")
        return Verdict(holds, tuple(dict.fromkeys(evaluation.said)))


def _needs(tree: ast.expr) -> Needs:
    signals: dict[str, None] = {}
    windows: list[tuple[str, float]] = []
    risks, first = False, None
    for function, arguments in calls(tree):
        if function in ("probability", "time_to_failure"):
            risks = True
            continue
        signal, attributes = selector(word(arguments[0]))
        first = first or (signal, attributes)
        signals[signal] = None
        if function in WINDOWED:
            windows.append((signal, duration_of(arguments[1]) or 0.0))
    labels = tuple(n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute))
    return Needs(tuple(signals), tuple(dict.fromkeys(windows)), risks, labels, first)


class _Evaluation:
    """One evaluation for one subject; `said` collects what was looked up."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.said: list[str] = []
        functions: dict[str, Any] = {
            "value": self._value,
            "limit": self._limit,
            "probability": self._probability,
            "time_to_failure": self._time_to_failure,
            **{name: partial(self._window, name) for name in WINDOWED},
        }
        self._eval = SimpleEval(operators=_OPERATORS, functions=functions, names={"entity": subject.entity})
        nodes = self._eval.nodes
        kept = (ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.Constant)
        self._eval.nodes = {kind: nodes[kind] for kind in kept}
        self._eval.nodes |= {ast.Name: self._name, ast.Attribute: self._attribute, ast.Call: self._call}
        self._eval.nodes |= {ast.Tuple: self._several, ast.List: self._several}
        self._functions = functions

    def run(self, tree: ast.expr) -> object:
        """Raises UnknownError, and what calculations raise."""
        return self._eval._eval(tree)  # the tree was parsed and checked already

    def _name(self, node: ast.Name) -> object:
        seconds = duration_of(node)
        return self._subject.entity if seconds is None else seconds

    def _attribute(self, node: ast.Attribute) -> str:
        entity = self._subject.entity
        built_in = {"name": entity.rpartition("/")[2], "namespace": namespace_of(entity)}
        return built_in.get(node.attr, self._subject.labels.get(node.attr, ""))

    def _several(self, node: ast.Tuple | ast.List) -> list[object]:
        return [self.run(one) for one in node.elts]

    def _call(self, node: ast.Call) -> float:
        assert isinstance(node.func, ast.Name)
        arguments = [a if (a := duration_of(n)) is not None else word(n) for n in node.args]
        return float(self._functions[node.func.id](*arguments))

    def _fresh(self, text: str) -> tuple[Reading, float, datetime]:
        signal, attributes = selector(text)
        reading = self._subject.reading(signal, attributes)
        if reading.value is None or reading.at is None or self._subject.at - reading.at > STALE:
            last = f" since {reading.at:%Y-%m-%d %H:%M} UTC" if reading.at else f" for {STALE.seconds // 60} min"
            raise UnknownError(f"{self._subject.entity} has sent no {reading.name}{last}")
        return reading, reading.value, reading.at

    def _value(self, text: str) -> float:
        reading, value, _ = self._fresh(text)
        self.said.append(f"{reading.name} is {format_value(value, reading.unit, reading.signal)}")
        return value

    def _limit(self, text: str) -> float:
        signal, attributes = selector(text)
        reading = self._subject.reading(signal, attributes)
        if reading.limit is None:
            raise UnknownError(f"no limit of {reading.name} of {self._subject.entity} is known")
        self.said.append(f"its limit is {format_value(reading.limit, reading.unit, reading.signal)}")
        return reading.limit

    def _window(self, function: str, text: str, seconds: float) -> float:
        reading, _, _ = self._fresh(text)
        window = reading.windows.get(seconds)
        value = None if window is None else _of_window(window, function)
        length = format_duration(seconds)
        if value is None:
            raise UnknownError(f"{reading.name} has too few samples in {length}")
        shown = f"{value:.3g}/s" if function == "rate" else format_value(value, reading.unit, reading.signal)
        self.said.append(f"{function} of {reading.name} over {length} is {shown}")
        return value

    def _probability(self, mode: str, seconds: float) -> float:
        subject = self._subject
        known = [one.probability_within(seconds, subject.at) for one in subject.foreseen(mode)]
        share = max(known, default=0.0)
        what = "" if mode == ANY else f" of {mode}"
        self.said.append(f"the probability{what} within {format_duration(seconds)} is {format_share(share)}")
        return share

    def _time_to_failure(self, quantile: str, mode: str = ANY) -> float:
        subject = self._subject
        left = min((one.seconds_left(quantile, subject.at) for one in subject.foreseen(mode)), default=float("inf"))
        if left != float("inf"):
            self.said.append(f"time to failure ({quantile}) is {format_duration(max(left, 0.0))}")
        return left


def _of_window(window: Any, function: str) -> float | None:
    names = {"mean": "mean", "min": "minimum", "max": "maximum", "rate": "rate"}
    found: float | None = getattr(window, names[function])
    return found

"""The catalogue of failure modes: which signal means which failure, and what to do about it."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

import yaml


@dataclass(frozen=True, slots=True)
class Advice:
    """One action; `what_if` asks for the computed effect of a limit 1.4 times as high."""

    text: str
    link: str = ""
    what_if: bool = False


@dataclass(frozen=True, slots=True)
class FailureMode:
    """A failure mode: its name, the signals it is seen in, the thing in words, and the advice."""

    mode: str
    pattern: re.Pattern[str]
    what: str
    actions: tuple[Advice, ...]


@cache
def catalogue() -> tuple[FailureMode, ...]:
    """The entries of catalogue.yaml, in order."""
    entries = yaml.safe_load(resources.files("forewarn.risk").joinpath("catalogue.yaml").read_text())
    return tuple(
        FailureMode(e["mode"], re.compile(e["pattern"]), e["what"], tuple(Advice(**a) for a in e["actions"]))
        for e in entries
    )


@lru_cache(maxsize=65536)
def failure_mode(signal: str) -> FailureMode:
    """The first entry whose pattern is found in the signal's name; the last entry fits all."""
    return next(entry for entry in catalogue() if entry.pattern.search(signal))

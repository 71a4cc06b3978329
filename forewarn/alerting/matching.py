"""Matchers: which incidents a route, a silence, a maintenance window or an inhibition is about."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from forewarn.incidents.records import Incident
from forewarn.telemetry.samples import namespace_of

BUILT_IN = ("entity", "namespace", "name", "signal", "mode", "severity", "state", "rule")
MODE_OF_RULES = "rule"  # mode of what a rule of a team's own tells; see forewarn.alerting.rules
OWN_PREFIX = "label."  # `label.team` is the label `team` that the alerting file gives to entities

Match = Mapping[str, str | Sequence[str]]


def labels_of(incident: Incident, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Labels of an incident: the built-in ones and those that the alerting file gives to its entity."""
    return {
        **(own or {}),
        **incident.labels,
        "entity": incident.entity,
        "namespace": namespace_of(incident.entity),
        "name": incident.entity.rpartition("/")[2],
        "signal": incident.signal,
        "mode": incident.mode,
        "severity": incident.severity,
        "state": incident.state,
    }


def matches(match: Match, labels: Mapping[str, str]) -> bool:
    """Whether every matcher fits; no matcher fits everything.

    A value is a text with `*` for anything, `!text` for anything but it, `~regex` for a regular expression that must
    fit in full, or a list of which one must fit. A label that an incident does not have is the empty text.
    """
    return all(_fits(wanted, labels.get(name.removeprefix(OWN_PREFIX), "")) for name, wanted in match.items())


def check_match(match: Match) -> None:
    """Raises ValueError that names the matcher that cannot be read."""
    for name, wanted in match.items():
        for text in [wanted] if isinstance(wanted, str) else wanted:
            try:
                _pattern(text)
            except re.error as error:
                raise ValueError(f"{name}: '{text}' is no regular expression: {error}") from error


def describe(match: Match) -> str:
    """`entity=shop/*, severity=critical`, for reasons; `everything` without matchers."""
    parts = [f"{name}={value if isinstance(value, str) else '|'.join(value)}" for name, value in match.items()]
    return ", ".join(parts) or "everything"


def _fits(wanted: str | Sequence[str], value: str) -> bool:
    if not isinstance(wanted, str):
        return any(_fits(one, value) for one in wanted)
    negated, pattern = _pattern(wanted)
    return (pattern.fullmatch(value) is not None) != negated


@lru_cache(maxsize=4096)
def _pattern(wanted: str) -> tuple[bool, re.Pattern[str]]:
    negated = wanted.startswith("!")
    text = wanted[1:] if negated else wanted
    if text.startswith("~"):
        return negated, re.compile(text[1:], re.DOTALL)
    return negated, re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)

"""Ranks entities by how much of what is unusual about an incident began with them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from forewarn.incidents.causes.findings import Finding, Kind

_SURE = 10.0  # robust deviations at which a finding is heard with 1 - 1/e of its weight
# A log line tells that something failed; where it was written says less of where it began than the others do.
_TRUST: dict[Kind, float] = {"time": 1.0, "resource": 1.0, "errors": 1.0, "work": 1.0, "log": 0.5}


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entity that may be the cause.

    score: its share of all that is unusual, 0 to 1; reasons: strongest first; queries: one for each, '' where none is
    known.
    """

    entity: str
    score: float
    reasons: tuple[str, ...]
    queries: tuple[str, ...] = ()


def rank(findings: Iterable[Finding], candidates: Iterable[str] = ()) -> list[Suspect]:
    """Suspects, the most likely first; candidates without a finding come last, by name.

    A finding is heard by its deviation, 1 - exp(-deviation / 10). Within a kind, amounts become shares of their sum;
    a kind counts as much as its best heard finding is large, logs half. Nothing is learned.
    """
    kinds: dict[Kind, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.amount > 0:
            kinds[finding.kind].append(finding)
    scores: dict[str, float] = dict.fromkeys(candidates, 0.0)
    total = 0.0
    for kind, found in kinds.items():
        heard = [1.0 - float(np.exp(-f.deviation / _SURE)) for f in found]
        weight = _TRUST[kind] * max(h * f.size for h, f in zip(heard, found, strict=True))
        amount = sum(h * f.amount for h, f in zip(heard, found, strict=True))
        total += weight
        for h, finding in zip(heard, found, strict=True):
            scores[finding.entity] = scores.get(finding.entity, 0.0) + weight * h * finding.amount / amount
    by_entity: dict[str, list[Finding]] = defaultdict(list)
    for found in kinds.values():
        for finding in found:
            by_entity[finding.entity].append(finding)
    order = sorted(scores, key=lambda entity: (-scores[entity], entity))
    suspects = []
    for entity in order:
        reasons = _reasons(by_entity[entity])
        suspects.append(Suspect(entity, scores[entity] / max(total, 1e-12), tuple(reasons), tuple(reasons.values())))
    return suspects


def _reasons(findings: Sequence[Finding]) -> dict[str, str]:
    """Sentences of the findings and their queries, the most unusual first, each once."""
    ordered = sorted(findings, key=lambda f: -f.deviation)
    queries: dict[str, str] = {}
    for finding in ordered:
        queries.setdefault(finding.text, finding.query)
    return queries

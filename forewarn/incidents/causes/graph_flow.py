"""Whose time or failures these are, where only sums per entity are known: each less what it calls explains."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forewarn.incidents.causes.findings import F64, Finding, Kind, part, spread

_NOISE = 3.0  # deviations that count as noise
_RELATIVE = 0.02
_FEWEST = 3  # values that tell a level
_SELDOM = 0.1  # share of the past in which a call that is new may have been seen
_ASIDE = 0.1  # weight of what the symptom does not depend on


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What requests cost at an entity: seconds (kind 'time') or the share that failed (kind 'errors').

    usual: costs that tell the noise; before, now: right before and in the incident; NaN where there was no request.
    requests_before, requests: per second.
    """

    entity: str
    kind: Kind
    usual: F64
    before: F64
    now: F64
    requests_before: F64
    requests: F64


@dataclass(frozen=True, slots=True)
class _Excess:
    """Extra cost a second, in all; cost: extra a request; new: whether it was never called before."""

    amount: float
    cost: float
    level: float
    deviation: float
    rate: float
    new: bool


def flow_findings(loads: Iterable[Load], edges: Iterable[tuple[str, str]], symptom: str) -> list[Finding]:
    """Findings of entities with extra cost beyond what those that they call explain.

    An entity's extra is shared among its callers by their requests. What was never called before is no cause but
    tells of its caller, which began to call it. What the symptom does not depend on counts a tenth.
    """
    several = list(loads)
    calls = list(dict.fromkeys(edges))
    excess = {load.entity: _excess(load) for load in several}
    kinds = {load.entity: load.kind for load in several}
    passed_on = _passed_on(excess, calls)
    behind = _behind(symptom, calls)
    found = []
    for entity, extra in excess.items():
        own = extra.amount - passed_on.get(entity, 0.0)
        if own <= 0 or extra.new:
            continue
        amount = own * (1.0 if entity in behind else _ASIDE)
        size = part(extra.cost, extra.level) if kinds[entity] == "time" else min(10 * extra.cost, 1.0)
        found.append(Finding(entity, kinds[entity], amount, extra.deviation, size, _text(entity, kinds[entity], extra)))
    return found


def _excess(load: Load) -> _Excess:
    """Extra cost at the moment when it was largest, beyond noise."""
    usual = load.usual[np.isfinite(load.usual)]
    before = load.before[np.isfinite(load.before)]
    rates = np.where(np.isfinite(load.requests), load.requests, 0.0)
    there = np.isfinite(load.now) & (rates > 0)
    new = not len(before) and len(usual) <= _SELDOM * len(load.usual)
    if not there.any() or not (len(before) or len(usual)):
        return _Excess(0.0, 0.0, 0.0, 0.0, 0.0, new)
    level = float(np.median(before)) if len(before) else float(np.median(usual))
    noise = spread(usual, _RELATIVE * abs(level)) if len(usual) >= _FEWEST else abs(level) * 0.2
    noise = max(noise, 1e-4)
    above = np.where(there, load.now - level, 0.0)
    amounts = np.clip(above - _NOISE * noise, 0.0, None) * rates
    at = int(np.argmax(amounts))
    return _Excess(float(amounts[at]), float(above[at]), level, float(above[at] / noise), float(rates[at]), new)


def _passed_on(excess: Mapping[str, _Excess], calls: Sequence[tuple[str, str]]) -> dict[str, float]:
    """What each caller gets from what it calls."""
    callers: dict[str, list[str]] = defaultdict(list)
    for client, server in calls:
        if client in excess and server in excess and not excess[server].new:
            callers[server].append(client)
    passed: dict[str, float] = defaultdict(float)
    for server, clients in callers.items():
        rates = {client: excess[client].rate for client in clients}
        total = sum(rates.values())
        for client in clients:
            passed[client] += excess[server].amount * (rates[client] / total if total > 0 else 0.0)
    return passed


def _behind(symptom: str, calls: Sequence[tuple[str, str]]) -> set[str]:
    servers: dict[str, list[str]] = defaultdict(list)
    for client, server in calls:
        servers[client].append(server)
    seen, wave = {symptom}, [symptom]
    while wave:
        wave = [s for client in wave for s in servers[client] if s not in seen]
        seen.update(wave)
    return seen


def _text(entity: str, kind: Kind, extra: _Excess) -> str:
    if kind == "errors":
        return f"{extra.cost:.1%} more of the requests to {entity} failed, beyond what it calls"
    return (
        f"requests to {entity} took {extra.cost:.3g} s longer than the usual {extra.level:.3g} s, beyond what it calls"
    )

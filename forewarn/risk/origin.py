"""Where a rise comes from along the service graph: who fills a shared resource, which dependency fails or slows."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.risk.catalogue import failure_mode
from forewarn.risk.quantities import format_value
from forewarn.risk.records import Driver
from forewarn.telemetry.queries import query_of
from forewarn.telemetry.samples import Series

F32 = NDArray[np.float32]

Calls = Mapping[str, set[str]]  # client -> the servers that it calls

MAX_HOPS = 4
_FAILS = re.compile(r"(errors?|failures?|failed|timeouts?|rejected)(_total|\.rate|\.count)?$")
_OWN_FAILS = re.compile(r"server|process\.")  # what an entity answers wrongly, not what it was answered
_SYMPTOMS = ("error_rate_climb", "latency_breach")
_SHARE = 0.5  # of the rise from which on a user is its cause
_MOVES = 0.5  # correlation below which a user only happens to rise, too
_WORTH_TELLING = 0.05  # share of the risk that must go when a cause is taken away
_MORE = 2.0  # errors that grew by this factor have risen
_AS_MUCH = 0.75  # and those that grew by this share of the factor by which what is told grew, if by a fifth at least
_LEAST_MORE = 1.2
_CALLERS_VIEW = re.compile(r"client")  # response times as a caller sees them


@dataclass(frozen=True, slots=True, eq=False)
class Nearby:
    """Series of the entities around one, and their last cells before now: float32 [S, T]."""

    series: Sequence[Series]
    cells: F32


def reached(start: str, calls: Calls, hops: int = MAX_HOPS) -> dict[str, int]:
    """Every entity that `start` depends on, with the length of the shortest chain of calls to it."""
    distance, frontier = {start: 0}, [start]
    for hop in range(1, hops + 1):
        frontier = [s for node in frontier for s in sorted(calls.get(node, ())) if s not in distance]
        distance.update(dict.fromkeys(frontier, hop))
    del distance[start]
    return distance


def callers(server: str, calls: Calls) -> list[str]:
    """The entities that call `server` themselves."""
    return sorted(client for client, servers in calls.items() if server in servers)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cause elsewhere that is to be tested by taking its share of the rise away; None: there is nothing to test."""

    driver: Driver
    share: float | None


def candidates(series: Series, cells: F32, nearby: Nearby, calls: Calls) -> list[Candidate]:
    """Causes elsewhere in the service graph, most likely first; none where the rise is the entity's own.

    series, cells: the limited series and its last cells, float32 [T].
    """
    if failure_mode(series.signal).mode in _SYMPTOMS:
        slow = _slow_dependency(series, cells, nearby, calls)
        return [*slow, *_failing_dependency(series, cells, nearby, calls)]
    return _filling_users(series, cells, nearby, calls)


def tested(found: Sequence[Candidate], gone: Sequence[float]) -> list[Driver]:
    """Candidates as drivers. gone: of each that has a share, the share of the risk that goes when that share of the
    rise is taken away (the deletion test); below 5 % it stays a hypothesis."""
    shares = iter(gone)
    return [c.driver if c.share is None else _decided(c.driver, next(shares)) for c in found]


def _decided(driver: Driver, gone: float) -> Driver:
    return replace(driver, contribution=gone, hypothesis=gone < _WORTH_TELLING)


def origins(
    series: Series, cells: F32, nearby: Nearby, calls: Calls, risk_without: Callable[[float], float]
) -> list[Driver]:
    """`candidates`, each tested at once by `risk_without(share)`."""
    found = candidates(series, cells, nearby, calls)
    return tested(found, [risk_without(c.share) for c in found if c.share is not None])


def _filling_users(series: Series, cells: F32, nearby: Nearby, calls: Calls) -> list[Candidate]:
    """Callers of a shared resource whose own use of it grew by at least half of what the resource's did."""
    users, rise = set(callers(series.entity, calls)), _rise(cells)
    if not users or not rise > 0:
        return []
    mode = failure_mode(series.signal).mode
    found: dict[str, tuple[float, Candidate]] = {}
    for one, own in zip(nearby.series, nearby.cells, strict=True):
        if one.entity not in users or failure_mode(one.signal).mode != mode or mode == "capacity":
            continue
        share = _rise(own) / rise
        if not share >= _SHARE or not _correlation(own, cells) >= _MOVES:
            continue
        text = (
            f"{one.entity}, whose {one.name} grew by {format_value(_rise(own), one.unit, one.signal)} of the "
            f"{format_value(rise, series.unit, series.signal)} by which it rose"
        )
        rank = abs(np.log(share)) + (0.0 if one.signal.endswith(("usage", "used")) else 0.3)
        if one.entity not in found or rank < found[one.entity][0]:
            found[one.entity] = (
                rank,
                Candidate(Driver(one.entity, one.name, text, 0.0, query=query_of(one)), min(share, 1.0)),
            )
    return [candidate for _, candidate in sorted(found.values(), key=lambda pair: pair[0])]


def _failing_dependency(series: Series, cells: F32, nearby: Nearby, calls: Calls) -> list[Candidate]:
    """The deepest service whose own errors rose: what it answers wrongly, those above it pass on.

    What is tested is the share of the movement that its errors explain (r²); where they move otherwise, nothing is.
    """
    depth, best = {series.entity: 0, **reached(series.entity, calls)}, None
    needed = _factor(cells)
    for one, own in zip(nearby.series, nearby.cells, strict=True):
        if one.entity not in depth or not _FAILS.search(one.signal):
            continue
        before, after = _ends(own)
        if not after > max(needed * before, 1e-9):
            continue
        rank = (depth[one.entity], bool(_OWN_FAILS.search(one.signal)), after)
        if best is None or rank > best[0]:
            grew = f"{one.name} rose from {format_value(before, '')} to {format_value(after, '')} per second"
            whose = "its own errors" if one.entity == series.entity else f"errors of {one.entity}, on which it depends"
            driver = Driver(one.entity, one.name, f"{whose} ({grew})", 0.0, hypothesis=True, query=query_of(one))
            together = _correlation(own, cells)
            best = rank, Candidate(driver, together**2 if together >= _MOVES else None)
    return [best[1]] if best else []


def _slow_dependency(series: Series, cells: F32, nearby: Nearby, calls: Calls) -> list[Candidate]:
    """The deepest service below whose own response time rose by at least half of what the caller's did, with it.

    Of its response times, that of the same quantile as the caller's, else the one whose rise is nearest.
    """
    rise = _rise(cells)
    if failure_mode(series.signal).mode != "latency_breach" or not rise > 0:
        return []
    depth, best = reached(series.entity, calls), None
    for one, own in zip(nearby.series, nearby.cells, strict=True):
        waits = failure_mode(one.signal).mode == "latency_breach" and not _CALLERS_VIEW.search(one.signal)
        if one.entity not in depth or not waits:
            continue
        before, after = _ends(own)
        share = (after - before) / rise
        if not share >= _SHARE or not _correlation(own, cells) >= _MOVES:
            continue
        same = one.signal.rpartition(".")[2] == series.signal.rpartition(".")[2]
        rank = (depth[one.entity], same, -abs(float(np.log(share))))
        if best is None or rank > best[0]:
            values = (format_value(v, one.unit, one.signal) for v in (before, after))
            text = f"{one.entity}, on which it depends, answers slower ({one.name} rose from {' to '.join(values)})"
            best = rank, Candidate(Driver(one.entity, one.name, text, 0.0, query=query_of(one)), min(share, 1.0))
    return [best[1]] if best else []


def _factor(cells: F32) -> float:
    """By how much errors must have grown to be the cause of something that grew as `cells` did."""
    before, after = _ends(cells)
    grown = after / before if before > 0 else np.inf
    return float(min(_MORE, max(_LEAST_MORE, _AS_MUCH * grown)))


def _rise(cells: F32) -> float:
    before, after = _ends(cells)
    return after - before


def _ends(cells: F32) -> tuple[float, float]:
    """Means of the first and the last sixth of what is there."""
    there = cells[np.isfinite(cells)].astype(np.float64)
    count = max(len(there) // 6, 1)
    return (float(there[:count].mean()), float(there[-count:].mean())) if len(there) >= 6 else (np.nan, np.nan)


def _correlation(one: F32, other: F32) -> float:
    there = np.isfinite(one) & np.isfinite(other)
    if there.sum() < 6 or np.ptp(one[there]) == 0 or np.ptp(other[there]) == 0:
        return 0.0
    return float(np.corrcoef(one[there].astype(np.float64), other[there].astype(np.float64))[0, 1])

"""What metrics say: services that got slower than what they call explains, ways between them, errors, resources."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.incidents.causes.findings import F64, Finding, Window, part, spread
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.quantities import format_share
from forewarn.telemetry.limits import limit_pairs
from forewarn.telemetry.queries import query_of
from forewarn.telemetry.samples import SampleBatch, Series

_PROMISES = ("error_rate_climb", "latency_breach")
_RECENT = 60  # samples that tell what is usual
_FEWEST = 3
_NOISE = 3.0  # deviations that count as noise
_RELATIVE = 0.02  # of its usual level, below which no change is told
_CROWD = 0.05  # of the median over all entities: an idle one's noise is not exact either
_FROM_AFAR = 5.0  # deviations, at most, of errors that clients see: something behind them fails, who knows what
_MANY_ERRORS = 0.1  # a tenth of all requests failing is as bad as it gets
_ADDS_UP = 2.0  # quantiles of calls do not add up to those of their caller: half explained is explained


@dataclass(frozen=True, slots=True)
class Change:
    """A series before and in the incident: usual level and spread, how much it changed."""

    series: Series
    level: float
    spread: float
    change: float

    @property
    def deviation(self) -> float:
        return self.change / self.spread

    @property
    def excess(self) -> float:
        """The rise beyond noise, in the series' unit."""
        return max(self.change - _NOISE * self.spread, 0.0)


def changes(samples: SampleBatch, window: Window) -> list[Change]:
    """Every series that has values before and in the incident. The level in it is the mean of its upper half."""
    found = [_change(series, *points, window) for series, points in _points(samples)]
    return _not_too_exact([change for change in found if change is not None])


def work_findings(samples: SampleBatch, edges: Iterable[tuple[str, str]], window: Window) -> list[Finding]:
    """Clients that call less often than their own requests let expect: they give up or return early.

    amount: the share of the calls that is missing.
    """
    rates = {series.entity: points for series, points in _points(samples) if "server.request.rate" in series.signal}
    found = []
    for client, server in edges:
        if client not in rates or server not in rates:
            continue
        times, requests = rates[client]
        busy = requests > 0
        calls = np.interp(times[busy], *rates[server]) / requests[busy]
        change = _change(Series(client, f"calls.per.request{{{server}}}"), times[busy], -calls, window)
        if change is not None and change.excess:
            share = min(change.excess / max(-change.level, 1e-12), 1.0)
            text = f"{client} called {server} {-change.level:.3g} times per request and now {change.change:.3g} less"
            found.append(Finding(client, "work", share, change.deviation, share, text))
    return found


def _points(samples: SampleBatch) -> Iterator[tuple[Series, tuple[NDArray[np.int64], F64]]]:
    """Times and values of every series."""
    order = np.argsort(samples.index, kind="stable")
    bounds = np.searchsorted(samples.index[order], np.arange(len(samples.series) + 1))
    for i, series in enumerate(samples.series):
        rows = order[bounds[i] : bounds[i + 1]]
        there = rows[np.isfinite(samples.values[rows])]
        yield series, (samples.times[there], samples.values[there])


def _change(series: Series, times: NDArray[np.int64], values: F64, window: Window) -> Change | None:
    usual, now = values[window.before(times)][-_RECENT:], values[window.during(times)]
    if len(usual) < _FEWEST or not len(now):
        return None
    level = float(np.median(usual))
    return Change(series, level, max(spread(usual, _RELATIVE * abs(level)), 1e-9), _upper(now) - level)


def limit_findings(samples: SampleBatch, window: Window) -> list[Finding]:
    """What is used up: signals with a limit of their own that came nearer to it, as shares of the limit.

    What an entity promises (errors, response times) is told by what suffers, not here; CPU has a rule of its own.
    """
    points, found = dict(_points(samples)), []
    for own, limit in limit_pairs(samples.series).items():
        series, (_, told) = samples.series[own], points[samples.series[limit]]
        if "cpu" in series.signal or failure_mode(series.signal).mode in _PROMISES or not len(told) or told[-1] <= 0:
            continue
        times, values = points[series]
        change = _change(series, times, values / told[-1], window)
        if change is not None and change.excess:
            text = (
                f"{series.name} of {series.entity} stood at {format_share(change.level)} of its limit and rose to "
                f"{format_share(change.level + change.change)}, {change.deviation:.0f} times its usual spread"
            )
            size = min(change.change, 1.0)
            found.append(
                Finding(series.entity, "resource", change.excess, change.deviation, size, text, query_of(series))
            )
    return found


def findings(seen: Iterable[Change], edges: Iterable[tuple[str, str]], with_time: bool = True) -> list[Finding]:
    """Findings in changes of metrics. `with_time` is for where no spans tell the time better.

    edges: pairs (client, server). Signals are told by name: `*.server.*duration*` of an entity, of it towards a
    `client.address`, `*.client.*duration*` towards a `server.address`, `*.server.*rate`, `*error_ratio*`, cpu.
    """
    changed = list(seen)
    rates = {c.series.entity: c.level for c in changed if "server.request.rate" in c.series.signal}
    found = [*_resources(changed), *_errors(changed, list(edges))]
    if with_time:
        ways, called = _ways(changed, rates)
        found += [*ways, *_own_time(changed, rates, called)]
    return found


def _upper(values: F64) -> float:
    ordered = np.sort(values)[::-1]
    return float(ordered[: (len(ordered) + 1) // 2].mean())


def _not_too_exact(found: list[Change]) -> list[Change]:
    """Spreads no smaller than a share of what the same signal is at other entities."""
    levels: dict[str, list[float]] = defaultdict(list)
    for change in found:
        levels[change.series.signal].append(max(abs(change.level), change.spread))
    floor = {signal: _CROWD * float(np.median(several)) for signal, several in levels.items()}
    return [Change(c.series, c.level, max(c.spread, floor[c.series.signal], 1e-9), c.change) for c in found]


def _resources(changed: Iterable[Change]) -> list[Finding]:
    """CPU that an entity uses itself: of its limit where that is known, else of what it uses now.

    A node's is shared by many and tells nothing of one.
    """
    cpu = [c for c in changed if "cpu" in c.series.signal and "node" not in c.series.signal and c.excess > 0]
    limited = {c.series.entity for c in cpu if "utilization" in c.series.signal}
    found = []
    for c in cpu:
        if "utilization" in c.series.signal:
            found.append(
                Finding(c.series.entity, "resource", c.excess, c.deviation, min(c.change, 1.0), _text(c), _query(c))
            )
        elif c.series.entity not in limited:
            size = part(c.change, c.level)
            found.append(Finding(c.series.entity, "resource", size, c.deviation, size, _text(c), _query(c)))
    return found


def _errors(changed: Iterable[Change], edges: list[tuple[str, str]]) -> list[Finding]:
    """Errors count for the entity that answers with them; those that a client sees, for those that it calls."""
    found = []
    for c in changed:
        if "error_ratio" not in c.series.signal or not c.excess:
            continue
        size = min(c.change / _MANY_ERRORS, 1.0)
        servers = [server for client, server in edges if client == c.series.entity]
        if "client" in c.series.signal and servers:
            deviation, amount = min(c.deviation, _FROM_AFAR), c.excess / len(servers)
            found += [Finding(end, "errors", amount, deviation, size, _text(c), _query(c)) for end in servers]
        else:
            found.append(Finding(c.series.entity, "errors", c.excess, c.deviation, size, _text(c), _query(c)))
    return found


def _side(changed: Iterable[Change], side: str, attribute: str) -> dict[tuple[str, str], list[Change]]:
    """Latencies of calls, by the entity that measured them and the other end ('' for all of its calls)."""
    sides: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for c in changed:
        if f".{side}." in c.series.signal and "duration" in c.series.signal:
            sides[c.series.entity, dict(c.series.attributes).get(attribute, "")].append(c)
    return sides


def _ways(changed: list[Change], rates: Mapping[str, float]) -> tuple[list[Finding], dict[tuple[str, str], float]]:
    """Time lost between client and server, shared by both ends; and the extra seconds of a call by (client, server)."""
    seen_by_client = {k: v for k, v in _side(changed, "client", "server.address").items() if k[1]}
    seen_by_server = _side(changed, "server", "client.address")
    called = {edge: _typical_excess(several) for edge, several in seen_by_client.items()}
    lost = {}
    for (client, server), extra in called.items():
        served = seen_by_server.get((server, client))
        if served is not None:
            lost[client, server] = max(extra - max(float(np.mean([c.change for c in served])), 0.0), 0.0)
    slow: dict[str, list[bool]] = defaultdict(list)
    for edge, extra in lost.items():
        for end in edge:
            slow[end].append(extra > 0)
    found = []
    for (client, server), extra in lost.items():
        if extra:
            worst = max(seen_by_client[client, server], key=lambda c: c.deviation)
            size = part(extra, worst.level)
            share = {end: float(np.mean(slow[end])) for end in (client, server)}
            text = f"calls from {client} to {server} took {extra:.3g} s longer on the way"
            for end, slow_share in share.items():
                amount = rates.get(server, 1.0) * extra * slow_share / sum(share.values())
                found.append(Finding(end, "time", amount, worst.deviation, size, text, _query(worst)))
    return found, called


def _own_time(
    changed: list[Change], rates: Mapping[str, float], called: Mapping[tuple[str, str], float]
) -> list[Finding]:
    """Extra time of services, less what the calls that they make explain."""
    served = {e: several for (e, client), several in _side(changed, "server", "client.address").items() if not client}
    extra = {entity: _typical_excess(several) for entity, several in served.items()}
    callers: dict[str, float] = defaultdict(float)
    for client, server in called:
        callers[server] += rates.get(client, 1.0)
    waited: dict[str, float] = defaultdict(float)
    for (client, server), seconds in called.items():
        share = rates.get(client, 1.0) / max(callers[server], 1e-12)
        waited[client] += max(seconds, extra.get(server, 0.0)) * rates.get(server, 1.0) * share
    found = []
    for entity, seconds in extra.items():
        flight = seconds * rates.get(entity, 1.0)
        own = max(flight - _ADDS_UP * waited[entity], 0.0)
        worst = max(served[entity], key=lambda c: c.deviation)
        size = part(own, worst.level * rates.get(entity, 1.0))
        found.append(Finding(entity, "time", own, worst.deviation, size, _text(worst), _query(worst)))
    return found


def _typical_excess(several: list[Change]) -> float:
    """Median over the quantiles of one latency: what only the 99 % quantile shows is chance."""
    return float(np.median([c.excess for c in several]))


def _text(c: Change) -> str:
    unit = "" if c.series.unit in ("", "1") else f" {c.series.unit}"
    return (
        f"{c.series.name} of {c.series.entity} was {c.level:.3g}{unit} and rose by {c.change:.3g}{unit}, "
        f"{c.deviation:.0f} times its usual spread"
    )


def _query(c: Change) -> str:
    return query_of(c.series)

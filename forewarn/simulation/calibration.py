"""How large a fault must grow so that its limit is reached at the load that is then expected."""

from collections.abc import Callable

import numpy as np

from forewarn.simulation import topology
from forewarn.simulation.data import Cache, Database, Worker
from forewarn.simulation.noise import Floats
from forewarn.simulation.web import Api

_DB_CAPACITY = Database.cores / Database.query_seconds_idle  # queries per second
CACHE_MISS_WORK = 3.5  # a page that is computed anew asks for more than one that was never cached


def amplitude(fault: str, growth: Floats, load: Floats, messages: Floats, step_seconds: float) -> float:
    """Value of the field `fault` of `Faults` at growth 1.

    growth, load (requests per second), messages (of jobs, per second): [T] from the onset to the end of the ramp.
    """
    if fault.endswith("_leak"):
        service = fault.removesuffix("_leak")
        filled = 0.64 if service == "cache" else 0.0  # the keys, which are no part of the profile
        return topology.PROFILES[service].headroom - filled
    if fault in ("worker_loss", "queue_inflow"):
        return _until_full(fault, growth, load, messages, step_seconds)
    if fault in _CONSTANT:
        return _CONSTANT[fault]
    return _first_crossing(np.array([_NEEDED[fault](one) for one in _smooth(load)]), growth)


def _smooth(load: Floats) -> Floats:
    """The load at 60 times of the ramp, each averaged over a sixtieth of it (or as it is where there are fewer)."""
    return np.array([part.mean() for part in np.array_split(load, min(60, len(load)))])


def _first_crossing(needed: Floats, growth: Floats) -> float:
    """Amplitude at which the fault first becomes as large as is needed [n] in the last 40 % of the ramp, if it can."""
    grown = np.array([part[-1] for part in np.array_split(growth, len(needed))])
    ratio = needed / np.maximum(grown, 1e-3)
    cut = int(0.6 * len(ratio))
    return float(min(ratio[cut:].min(), 0.95 * ratio[:cut].min(initial=np.inf)))


def _api_in_use(load: float) -> float:
    return load * Api.transactions_per_request * 0.58


def _worker_in_use(load: float) -> float:
    return load * Worker.messages_per_request * 0.225


def _queries(load: float) -> float:
    per_request = Cache.lookups_per_request * 0.1 + Api.transactions_per_request * Api.queries_per_transaction
    return load * (per_request + Worker.messages_per_request * Worker.queries_per_message)


def _cache_loss(load: float) -> float:
    """Share of lookups lost at which the database is saturated."""
    losses = np.linspace(0.05, 0.97, 93)
    missed = Cache.lookups_per_request * load * (1 - 0.9 * (1 - losses)) * (1 + CACHE_MISS_WORK * losses)
    others = _queries(load) - Cache.lookups_per_request * load * 0.1
    return float(losses[min(int(np.searchsorted(missed + others, _DB_CAPACITY)), len(losses) - 1)])


_CONSTANT = {
    "disk": 0.45,
    "payment_delay": 0.47,
    "gateway_errors": 0.048,
    "api_errors": 0.047,
    "payment_errors": 0.046,
}
_NEEDED: dict[str, Callable[[float], float]] = {
    "api_connections": lambda load: topology.API_POOL - _api_in_use(load),
    "worker_connections": lambda load: topology.WORKER_POOL - _worker_in_use(load),
    "db_connections": lambda load: topology.DB_CONNECTIONS - 16 - 1.06 * (_api_in_use(load) + _worker_in_use(load)),
    "gateway_sockets": lambda load: topology.PROFILES["gateway"].file_limit - 180 - load * 3.4,
    "db_slowdown": lambda load: _DB_CAPACITY / _queries(load) - 1,
    "cache_loss": _cache_loss,
    "demand": lambda load: max(60.0, 325 - load),
}


def _until_full(fault: str, growth: Floats, load: Floats, messages: Floats, step_seconds: float) -> float:
    """By bisection: the loss of consumers, or the inflow, that fills the queue at the end of the ramp."""
    arrivals = Worker.messages_per_request * load + messages
    capacity = Worker.consumers / (Worker.seconds_per_message + Worker.queries_per_message * 0.012)
    low, high = 0.0, 1.0 if fault == "worker_loss" else 400.0
    for _ in range(30):
        middle = (low + high) / 2
        grown = middle * growth
        loss, inflow = (np.minimum(grown, 0.985), 0.0) if fault == "worker_loss" else (0.0, grown)
        net = np.cumsum((arrivals + inflow - capacity * (1 - loss)) * step_seconds)
        depth = float((net - np.minimum.accumulate(np.minimum(net, 0))).max())  # Lindley's recursion, solved
        low, high = (low, middle) if depth > topology.QUEUE_LIMIT else (middle, high)
    return high

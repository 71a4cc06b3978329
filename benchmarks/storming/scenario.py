"""A made-up storm: some true causes in a graph of services, their symptoms, and risks about both at a steady rate."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from forewarn.risk.records import Action, Driver, Forecast, Risk, TimeToFailure, episode_of

LAYERS = (20, 60, 60, 40, 20)  # services from the doors that users come in by down to the stores; 200 in all
CALLS = (2, 4)  # services of the layers below that one calls, from and up to
CAUSES = 30
EARLY_SHARE = 0.3  # of the causes have a symptom that is told before they are
CAUSE_SIGNALS = (
    ("process.memory.usage", "memory_exhaustion", 2.0**31, "By"),
    ("system.filesystem.usage{mountpoint=/data}", "disk_full", 2.0**36, "By"),
    ("process.open_file_descriptor.count", "fd_exhaustion", 65536.0, "{count}"),
    ("system.cpu.utilization", "cpu_saturation", 1.0, "1"),
    ("db.client.connections.usage", "connection_exhaustion", 100.0, "{connection}"),
)
FELT_BEFORE = frozenset({"cpu_saturation", "connection_exhaustion"})  # causes that slow callers before they are gone
POOL = CAUSE_SIGNALS[4]
POOL_SHARE = 0.3  # of the direct callers of such a cause run out of connections themselves
COMMON = 0.8  # correlation of a symptom's steps with its cause's
SYMPTOM_SIGNALS = (
    ("http.server.request.duration", "latency_breach", 0.5, "s"),
    ("http.server.request.error_ratio", "error_rate_climb", 0.05, "1"),
)

Edge = tuple[str, str]
_DAY = 1440  # minutes


@dataclass(frozen=True, slots=True)
class Trouble:
    """A signal that is predicted to fail: a true cause or a symptom of one. begins: seconds after the start."""

    entity: str
    signal: str
    mode: str
    limit: float
    unit: str
    begins: float
    cause: str  # entity of the true cause
    moves_with: str  # the true cause's entity and signal
    hours_left: float
    probability: float

    @property
    def is_cause(self) -> bool:
        """Whether it is a true cause."""
        return self.entity == self.cause


@dataclass(frozen=True, slots=True)
class Storm:
    """edges: client, server. troubles: in the order in which they begin. causes: entities of the true causes."""

    edges: list[Edge]
    troubles: list[Trouble]

    @property
    def causes(self) -> list[Trouble]:
        """The true causes."""
        return [t for t in self.troubles if t.is_cause]


def make_storm(seed: int, seconds: float) -> Storm:
    """Services call at random within the layers below theirs; causes are at random services and begin at random times.

    Symptoms are latency and errors of services that call the cause, and less often of those that call these; and pools
    of direct callers, where the cause slows them before it is used up. Two causes may have pools among theirs, too, and
    one call the other. Every symptom's signal moves with its cause's.
    """
    rng = np.random.default_rng(seed)
    edges = _edges(rng)
    clients: dict[str, list[str]] = {}
    for client, server in edges:
        clients.setdefault(server, []).append(client)
    services = [name for layer in _names() for name in layer]
    troubles: dict[tuple[str, str], Trouble] = {}
    for entity in rng.choice(services, CAUSES, replace=False):
        for trouble in _one_cause(str(entity), clients, rng, 0.8 * seconds):
            known = troubles.get((trouble.entity, trouble.signal))
            if known is None or (trouble.is_cause, -trouble.begins) > (known.is_cause, -known.begins):
                troubles[trouble.entity, trouble.signal] = trouble
    return Storm(edges, sorted(troubles.values(), key=lambda t: t.begins))


def risks(storm: Storm, count: int, seconds: float) -> Iterator[tuple[float, Trouble, int]]:
    """(seconds after the start, trouble, revision) of each risk, evenly spaced; what is not new is an update."""
    rng = np.random.default_rng(1)
    waiting = [(t.begins, n) for n, t in enumerate(storm.troubles)]
    heapq.heapify(waiting)
    told: list[int] = []
    revisions: dict[int, int] = {}
    for i in range(count):
        at = i * seconds / count
        if waiting and (waiting[0][0] <= at or not told):
            number = heapq.heappop(waiting)[1]
            told.append(number)
        else:
            number = told[int(rng.integers(len(told)))]
        revisions[number] = revisions.get(number, -1) + 1
        yield at, storm.troubles[number], revisions[number]


def risk(trouble: Trouble, revision: int, opened: datetime, at: datetime) -> Risk:
    """A prediction as large as the predictor's, with a history of an hour."""
    t = trouble
    left = max(t.hours_left * 3600 - (at - opened).total_seconds(), 600.0)
    past = [60.0 * (i - 60) for i in range(61)]
    minutes = (int(at.timestamp() // 60) + np.arange(-60, 1)) % _DAY
    noise = _noise(f"{t.entity} {t.signal}")[minutes]
    if not t.is_cause:
        noise = COMMON * _noise(t.moves_with)[minutes] + np.sqrt(1 - COMMON**2) * noise
    values = t.limit * (0.5 + 0.3 * np.arange(61) / 60 + 0.02 * noise)
    future = [left * i / 24 for i in range(49)]
    middle = np.minimum(t.limit * (0.8 + 0.2 * np.arange(49) / 24), 1.5 * t.limit)
    return Risk(
        episode=episode_of(t.entity, t.signal, t.mode, opened),
        revision=revision,
        state="update" if revision else "open",
        entity=t.entity,
        signal=t.signal,
        mode=t.mode,
        predicted_at=at,
        horizon_seconds=6 * 3600.0,
        probability=t.probability,
        time_to_failure=TimeToFailure(0.7 * left, left, 1.5 * left, 1 - t.probability),
        value=float(values[-1]),
        limit=t.limit,
        unit=t.unit,
        drivers=[Driver(t.entity, t.signal, f"{t.signal} grows", 0.7)],
        evidence=[f"{t.signal} rose by 60 % within an hour"],
        actions=[Action("Look at it")],
        forecast=Forecast(
            past, [float(v) for v in values], future, *([float(f * m) for m in middle] for f in (0.95, 1.0, 1.05))
        ),
        model_version="storm",
    )


@lru_cache(maxsize=1000)
def _noise(name: str) -> NDArray[np.float64]:
    """What a signal does of its own, minute by minute of a day: float64 [1440]."""
    return np.random.default_rng(crc32(name.encode())).normal(size=_DAY)


def _names() -> list[list[str]]:
    return [[f"mall/s{layer}-{n:02d}" for n in range(size)] for layer, size in enumerate(LAYERS)]


def _edges(rng: np.random.Generator) -> list[Edge]:
    names, edges = _names(), []
    for number, layer in enumerate(names[:-1]):
        below = names[number + 1] + (names[number + 2] if number + 2 < len(names) else [])
        for client in layer:
            servers = rng.choice(below, int(rng.integers(*CALLS)), replace=False)
            edges += [(client, str(server)) for server in servers]
    return edges


def _one_cause(entity: str, clients: dict[str, list[str]], rng: np.random.Generator, until: float) -> Iterator[Trouble]:
    begins = float(rng.uniform(0, until))
    early = rng.random() < EARLY_SHARE
    signal, mode, limit, unit = CAUSE_SIGNALS[int(rng.integers(len(CAUSE_SIGNALS)))]
    hours, probability = float(rng.uniform(0.5, 3)), float(rng.uniform(0.8, 0.95))
    of = f"{entity} {signal}"
    yield Trouble(entity, signal, mode, limit, unit, begins, entity, of, hours, probability)
    direct = dict.fromkeys(clients.get(entity, []))
    beyond = dict.fromkeys(c for d in direct for c in clients.get(d, []) if c not in direct)
    reach = [(c, s, 0.7) for c in direct for s in SYMPTOM_SIGNALS] + [
        (c, s, 0.4) for c in beyond for s in SYMPTOM_SIGNALS
    ]
    if mode in FELT_BEFORE:
        reach += [(c, POOL, POOL_SHARE) for c in direct]
    first = True
    for symptom, (signal, mode, limit, unit), share in reach:
        if rng.random() > share:
            continue
        after = -3.0 if early and first else float(rng.exponential(6.0)) + 0.5
        first = False
        yield Trouble(
            symptom, signal, mode, limit, unit, max(begins + after, 0.0), entity, of,
            hours * float(rng.uniform(1.0, 1.4)), float(rng.uniform(0.7, 0.95)),
        )  # fmt: skip

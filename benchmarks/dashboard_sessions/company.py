"""A made-up company: services that call each other, on three layers of stores, and what may become scarce in them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

NAMESPACES = {"shop": 640, "payments": 200, "platform": 140, "": 20}  # entities; '' are hosts, which nobody calls
DEPTHS = (0.05, 0.25, 0.3, 0.25, 0.15)  # share of a namespace's services by layer, users come in by the first
HUBS = 6  # stores and busses of a namespace that a tenth of its services use
ROLES = (
    "api",
    "worker",
    "gateway",
    "store",
    "cache",
    "billing",
    "search",
    "mailer",
    "sync",
    "export",
    "index",
    "quota",
)
SUBJECTS = (
    "orders", "cart", "stock", "users", "prices", "reviews", "invoices", "returns", "shipping", "coupons", "catalogue",
    "recommendations", "notifications", "warehouse-allocation", "customer-lifetime-value-estimation",
)  # fmt: skip
SIGNALS = (
    ("process.memory.usage", "memory_exhaustion", 2.0**31, "By"),
    ("system.filesystem.usage{mountpoint=/data}", "disk_full", 2.0**38, "By"),
    ("db.client.connections.usage", "connection_exhaustion", 100.0, "{connection}"),
    ("messaging.queue.depth", "queue_backlog", 10_000.0, "{message}"),
    ("http.server.request.duration", "latency_breach", 0.5, "s"),
    ("http.server.request.error_ratio", "error_rate_climb", 0.05, "1"),
    ("process.open_file_descriptor.count", "fd_exhaustion", 65_536.0, "{count}"),
)

Edge = tuple[str, str]
Signal = tuple[str, str, float, str]  # name, failure mode, limit, unit


@dataclass(frozen=True, slots=True)
class Company:
    """entities in alphabetical order; edges: client, server."""

    entities: list[str]
    edges: list[Edge]

    @property
    def services(self) -> list[str]:
        """Entities with a namespace."""
        return [name for name in self.entities if "/" in name]


def make_company(seed: int = 0) -> Company:
    """1,000 entities in four namespaces, each service with two to five that it calls."""
    rng = np.random.default_rng(seed)
    entities, edges, fronts = [], [], []
    for namespace, size in NAMESPACES.items():
        names = _names(namespace, size, rng)
        entities += names
        if namespace:
            layers = np.split(np.array(names, dtype=object), np.cumsum([int(size * d) for d in DEPTHS])[:-1])
            edges += _calls(layers, rng)
            fronts.append((layers[0], layers[1]))
    for (callers, _), (called, _) in pairwise(fronts):  # namespaces call each other by the door
        edges += [(str(rng.choice(callers)), str(server)) for server in called[:4]]
    return Company(sorted(entities), sorted(set(edges)))


def _names(namespace: str, size: int, rng: np.random.Generator) -> list[str]:
    if not namespace:
        return [f"host-{n:03d}.fra1.example.net" for n in range(size)]
    pairs = [f"{subject}-{role}" for subject in SUBJECTS for role in ROLES]
    rng.shuffle(pairs)
    more = [f"{pair}-{n}" for n in range(2, 2 + size // len(pairs)) for pair in pairs]
    return [f"{namespace}/{name}" for name in (pairs + more)[:size]]


def _calls(layers: list[np.ndarray], rng: np.random.Generator) -> list[Edge]:  # type: ignore[type-arg]
    hubs = layers[-1][:HUBS]
    edges = []
    for number, layer in enumerate(layers[:-1]):
        below = np.concatenate(layers[number + 1 : number + 3])
        for client in layer:
            edges += [(client, str(s)) for s in rng.choice(below, int(rng.integers(2, 5)), replace=False)]
            edges += [(client, str(hub)) for hub in hubs[rng.random(len(hubs)) < 0.1]]
    return edges

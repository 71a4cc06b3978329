"""The failures that can be asked for by name, and how each of them grows."""

from dataclasses import dataclass

import numpy as np

from forewarn.simulation.noise import Floats

NONE = "none"
SHAPES = ("linear", "accelerating", "load-dependent", "stop-and-go")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which a scenario can happen.

    signal: what reaches its limit. fault: the field of `Faults` that grows. restarts: the repair restarts the service.
    fade_seconds: how long the repair takes. by_deploy: it may come with a new version.
    """

    scenario: str
    name: str
    service: str
    signal: str
    fault: str
    text: str
    repair: str
    restarts: bool = False
    fade_seconds: float = 120.0
    by_deploy: bool = False
    abrupt: bool = False  # queueing makes the signal jump at the end: somebody must notice early to avert it


_P99, _ERRORS = "http.server.request.duration.p99", "http.server.request.error_ratio"
_MEMORY, _POOL, _DISK = "process.memory.usage", "db.client.connections.usage", "system.filesystem.usage"


def _leak(service: str, text: str) -> Variant:
    fault = f"{service}_leak"
    name = f"{service}-memory"
    return Variant("memory-leak", name, service, _MEMORY, fault, text, "restarted", True, 1.0, service != "cache")


def _errors(service: str, text: str, repair: str, by_deploy: bool) -> Variant:
    fault = f"{service}_errors"
    return Variant("error-climb", f"{service}-errors", service, _ERRORS, fault, text, repair, by_deploy, 300, by_deploy)


def _disk(name: str, text: str, repair: str) -> Variant:
    return Variant("disk-filling", name, "checkout-db", _DISK, "disk", text, repair, fade_seconds=1500)


def _queue(name: str, fault: str, text: str, repair: str) -> Variant:
    return Variant("queue-backlog", name, "worker", "messaging.queue.depth", fault, text, repair, fade_seconds=300)


def _slow(name: str, service: str, fault: str, text: str, repair: str, fade: float) -> Variant:
    abrupt = service == "api"
    return Variant("slow-dependency", name, service, _P99, fault, text, repair, fade_seconds=fade, abrupt=abrupt)


# The first of a scenario is the one that is played when it is asked for by name.
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "memory-leak": (
        _leak("api", "sessions are never dropped"),
        _leak("worker", "each order leaves a buffer behind"),
        _leak("payment", "responses of the provider are kept"),
        _leak("gateway", "a map of client addresses grows"),
        _leak("cache", "output buffers of stalled clients grow"),
    ),
    "pool-exhaustion": (
        Variant(
            "pool-exhaustion",
            "api-pool",
            "api",
            _POOL,
            "api_connections",
            "an error path does not give connections back",
            "restarted",
            True,
            1.0,
            True,
        ),
        Variant(
            "pool-exhaustion",
            "worker-pool",
            "worker",
            _POOL,
            "worker_connections",
            "timed-out orders keep their connection",
            "restarted",
            True,
            1.0,
            True,
        ),
        Variant(
            "pool-exhaustion",
            "db-sessions",
            "checkout-db",
            "db.server.connections.usage",
            "db_connections",
            "a reporting tool leaves sessions open",
            "idle sessions closed",
            fade_seconds=180,
        ),
        Variant(
            "pool-exhaustion",
            "gateway-sockets",
            "gateway",
            "process.unix.file_descriptor.count",
            "gateway_sockets",
            "sockets of aborted uploads stay open",
            "restarted",
            True,
            1.0,
            True,
        ),
    ),
    "disk-filling": (
        _disk("wal", "a stuck replication slot keeps the WAL", "slot dropped"),
        _disk("debug-log", "a debug log was left on", "logs removed"),
        _disk("audit-table", "an audit table is never pruned", "old partitions dropped"),
    ),
    "queue-backlog": (
        _queue(
            "slow-consumers", "worker_loss", "consumers hang one after the other", "consumers restarted, scaled out"
        ),
        _queue(
            "import", "queue_inflow", "a partner's import floods the queue", "import throttled, consumers scaled out"
        ),
    ),
    "slow-dependency": (
        _slow("provider", "payment", "payment_delay", "the payment provider answers ever slower", "provider well", 600),
        _slow("missing-index", "api", "db_slowdown", "a query without an index slows the database", "index made", 400),
        _slow("cache-misses", "api", "cache_loss", "keys of the cache do not match any more", "keys corrected", 900),
    ),
    "error-climb": (
        _errors("api", "a new version fails for ever more users", "rolled back", True),
        _errors("payment", "the provider declines ever more calls", "provider well", False),
        _errors("gateway", "certificates of upstream shards expire", "certificates renewed", False),
    ),
    "traffic-spike": (
        Variant(
            "traffic-spike",
            "campaign",
            "gateway",
            _P99,
            "demand",
            "a campaign draws ever more users",
            "traffic shed, campaign over",
            fade_seconds=1500,
            abrupt=True,
        ),
    ),
}
SCENARIOS = tuple(VARIANTS)


@dataclass(frozen=True, slots=True)
class Injection:
    """A failure at a time. Seconds count from the start of the simulation.

    duration_seconds: in which the fault grows to the size at which the limit is expected to be reached.
    severity: factor on the growth. stop_at: a near miss, repaired at this share of the limit; None: not before it
    fails. repair_after_seconds: from the failure to the repair.
    """

    variant: Variant
    onset_seconds: float
    duration_seconds: float
    shape: str = "linear"
    severity: float = 1.0
    stop_at: float | None = None
    repair_after_seconds: float = 3600.0
    by_deploy: bool = False
    seed: int = 0

    @property
    def text(self) -> str:
        """'memory leak: sessions are never dropped'."""
        return f"{self.variant.scenario.replace('-', ' ')}: {self.variant.text}"


def draw(
    scenario: str,
    onset_seconds: float,
    duration_seconds: float,
    rng: np.random.Generator,
    variant: int = 0,
    near_miss: bool = False,
) -> Injection:
    """An injection whose shape, severity and repair come from `rng`. Raises KeyError for an unknown scenario."""
    chosen = VARIANTS[scenario][variant % len(VARIANTS[scenario])]
    noticed = rng.uniform(0.58, 0.63) if chosen.abrupt else rng.uniform(0.74, 0.86)
    return Injection(
        variant=chosen,
        onset_seconds=onset_seconds,
        duration_seconds=duration_seconds,
        shape=str(rng.choice(SHAPES)),
        severity=float(rng.uniform(1.0, 1.25)),
        stop_at=float(noticed) if near_miss else None,
        repair_after_seconds=float(rng.uniform(2400, 5400)),
        by_deploy=bool(chosen.by_deploy and rng.random() < 0.5),
        seed=int(rng.integers(2**31)),
    )


def growth(injection: Injection, since: Floats, load: Floats) -> Floats:
    """How far the fault has grown [T]: 0 at the onset, 1 after its duration, going on to at most 2.5.

    since: seconds since the onset [T], evenly spaced, from 0 to beyond the duration. load: requests per second [T].
    """
    rng = np.random.default_rng([injection.seed, 11])
    share = since / injection.duration_seconds
    rate = np.ones(len(since))
    if injection.shape == "accelerating":
        rate = np.maximum(share, 1e-3) ** rng.uniform(0.5, 1.4)
    elif injection.shape == "load-dependent":
        rate = load / load.mean()
    elif injection.shape == "stop-and-go":
        edges = np.sort(rng.uniform(0.05, 0.95, 2 * int(rng.integers(2, 5))))
        pausing = (np.searchsorted(edges, share) % 2 == 1) & (share < 1)
        rate = np.where(pausing, 0.08, 1.0)
    rate = rate * np.exp(rng.normal(0, 0.15, len(since)))
    grown = np.cumsum(rate)
    at_end = grown[min(len(since) - 1, int(np.searchsorted(share, 1.0)))]
    return np.asarray(np.minimum(grown / at_end * injection.severity, 2.5), np.float64)

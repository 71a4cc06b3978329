"""What the shop is made of: its services, their limits and the signals that each of them sends."""

from dataclasses import dataclass

from forewarn.telemetry.samples import Kind, Series

MIB = 2**20
GIB = 2**30

SERVICES = ("gateway", "api", "payment", "cache", "checkout-db", "worker")
CALLS = (
    ("gateway", "api"),
    ("api", "checkout-db"),
    ("api", "cache"),
    ("api", "payment"),
    ("api", "worker"),  # through the queue
    ("worker", "checkout-db"),
)

API_POOL, WORKER_POOL, DB_CONNECTIONS = 100, 40, 220
QUEUE_LIMIT = 100_000
DISK_BYTES = 200 * GIB
REDIS_BYTES = 1 * GIB
P99_OBJECTIVES = {"gateway": 2.8, "api": 2.4, "payment": 2.0}  # seconds
ERROR_OBJECTIVE = 0.05


@dataclass(frozen=True, slots=True)
class ProcessProfile:
    """Memory and open files of a service; memory in shares of its limit."""

    memory_limit: int  # bytes
    base: float  # right after the start
    warm_up: float  # what caches add within hours
    per_load: float  # what full utilisation adds
    garbage: float  # height of the garbage collector's sawtooth
    garbage_seconds: float  # its period at full load
    files: int  # open files without load
    file_limit: int

    @property
    def headroom(self) -> float:
        """Share of the limit that a warm process at usual load leaves free."""
        return 1 - self.base - self.warm_up - 0.45 * self.per_load


PROFILES = {
    "gateway": ProcessProfile(1 * GIB, 0.36, 0.08, 0.12, 0.09, 900, 180, 4096),
    "api": ProcessProfile(2 * GIB, 0.40, 0.12, 0.10, 0.14, 1200, 210, 4096),
    "payment": ProcessProfile(1 * GIB, 0.42, 0.07, 0.12, 0.10, 800, 120, 1024),
    "cache": ProcessProfile(1536 * MIB, 0.08, 0.0, 0.02, 0.015, 3000, 90, 4096),
    "checkout-db": ProcessProfile(8 * GIB, 0.50, 0.14, 0.08, 0.02, 4000, 400, 8192),
    "worker": ProcessProfile(1 * GIB, 0.38, 0.10, 0.10, 0.16, 1500, 95, 1024),
}

_Row = tuple[str, str, Kind]


def _gauges(*rows: tuple[str, str]) -> list[_Row]:
    return [(name, unit, Kind.GAUGE) for name, unit in rows]


_PROCESS = _gauges(
    ("process.cpu.utilization", "1"),
    ("process.memory.usage", "By"),
    ("process.memory.usage.limit", "By"),
    ("process.unix.file_descriptor.count", "{file_descriptor}"),
    ("process.unix.file_descriptor.count.limit", "{file_descriptor}"),
)
_HTTP: list[_Row] = [
    ("http.server.request.count", "{request}", Kind.CUMULATIVE),
    ("http.server.request.errors", "{request}", Kind.CUMULATIVE),
    *_gauges(
        ("http.server.request.duration.p50", "s"),
        ("http.server.request.duration.p99", "s"),
        ("http.server.request.duration.p99.limit", "s"),
        ("http.server.request.error_ratio", "1"),
        ("http.server.request.error_ratio.limit", "1"),
        ("http.server.active_requests", "{request}"),
    ),
]
_POOL = _gauges(
    ("db.client.connections.usage", "{connection}"),
    ("db.client.connections.max", "{connection}"),
    ("db.client.connections.pending_requests", "{request}"),
)

# In the order in which the services' `row` methods give the values.
SIGNALS: dict[str, list[_Row]] = {
    "gateway": [*_PROCESS, *_HTTP, *_gauges(("user.sessions.active", "{session}"), ("user.requests.rate", "1/s"))],
    "api": [*_PROCESS, *_HTTP, *_POOL],
    "payment": [*_PROCESS, *_HTTP],
    "cache": [
        *_PROCESS,
        *_gauges(("redis.memory.usage", "By"), ("redis.memory.usage.limit", "By"), ("redis.keyspace.hit_ratio", "1")),
    ],
    "checkout-db": [
        *_PROCESS,
        *_gauges(
            ("db.server.connections.usage", "{connection}"),
            ("db.server.connections.usage.limit", "{connection}"),
            ("system.filesystem.usage", "By"),
            ("system.filesystem.usage.limit", "By"),
            ("db.server.query.duration.p99", "s"),
            ("db.server.query.rate", "1/s"),
        ),
    ],
    "worker": [
        *_PROCESS,
        *_POOL,
        *_gauges(
            ("messaging.queue.depth", "{message}"),
            ("messaging.queue.depth.limit", "{message}"),
            ("messaging.process.rate", "1/s"),
        ),
    ],
}


def series_of(namespace: str, service: str) -> tuple[Series, ...]:
    """The series of a service, in the order of its values."""
    entity = f"{namespace}/{service}"
    return tuple(Series(entity, name, (), kind, unit) for name, unit, kind in SIGNALS[service])


def signal_index(service: str, signal: str) -> int:
    """Where a signal stands in the values of its service. Raises ValueError for one that it does not send."""
    return [name for name, _, _ in SIGNALS[service]].index(signal)

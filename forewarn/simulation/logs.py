"""Log lines of the shop: deploys and restarts, what goes wrong in words, and the usual chatter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.simulation.noise import Floats, Noise
from forewarn.simulation.recording import NANOSECONDS, Recording
from forewarn.simulation.topology import SERVICES

_ROUTES = ("/cart", "/checkout", "/products/{n}", "/search?q={n}", "/account/orders", "/login")


@dataclass(frozen=True, eq=False)
class EntityLogs:
    """Log records of one entity in order of time; columns of equal length."""

    entity: str
    times_ns: NDArray[np.int64]
    severities: list[str]
    bodies: list[str]
    attributes: list[dict[str, str]]

    def between(self, begin_ns: int, end_ns: int) -> "EntityLogs":
        """Records from `begin_ns` to before `end_ns`."""
        first, last = (int(i) for i in np.searchsorted(self.times_ns, (begin_ns, end_ns)))
        part = slice(first, last)
        return EntityLogs(
            self.entity, self.times_ns[part], self.severities[part], self.bodies[part], self.attributes[part]
        )


_Body = Callable[[int, np.random.Generator], str]
_Line = tuple[int, str, str, dict[str, str]]
_Rule = tuple[str, Floats, _Body]  # severity, expected lines per step [T], text


def write_logs(recording: Recording) -> tuple[EntityLogs, ...]:
    """All log lines of a recording, one table for each entity; at most three lines of a kind in a step."""
    noise = Noise(recording.seed, len(recording.times_ns), recording.step_seconds)
    return tuple(_table(recording, service, noise) for service in SERVICES)


def _table(recording: Recording, service: str, noise: Noise) -> EntityLogs:
    lines = _events(recording, service)
    for number, (severity, expected, body) in enumerate(_rules(recording, service)):
        rng = noise.generator(f"{service}-log-{number}")
        counts = np.minimum(rng.poisson(expected), 3)
        for k in np.repeat(np.arange(len(counts)), counts).tolist():
            at = int(recording.times_ns[k]) - int(rng.random() * recording.step_seconds * NANOSECONDS)
            lines.append((max(at, int(recording.times_ns[0])), severity, body(k, rng), {}))
    lines.sort(key=lambda line: line[0])
    columns = list(zip(*lines, strict=True)) or [(), (), (), ()]
    return EntityLogs(
        f"{recording.namespace}/{service}",
        np.array(columns[0], np.int64),
        list(columns[1]),
        list(columns[2]),
        list(columns[3]),
    )


def _events(recording: Recording, service: str) -> list[_Line]:
    """Deploys and restarts, with `event.name`."""
    return [
        (
            int(recording.times_ns[0]) + int(happening.seconds * NANOSECONDS),
            "INFO",
            happening.text,
            {"event.name": happening.kind},
        )
        for happening in recording.happenings
        if happening.service == service and happening.kind in ("deployment", "restart")
    ]


def _rules(recording: Recording, service: str) -> list[_Rule]:
    rules = _process_rules(recording, service)
    if service in ("gateway", "api", "payment"):
        rules += _web_rules(recording, service)
    if service in ("api", "worker"):
        rules.append(_pool_rule(recording, service))
    return rules + {"checkout-db": _database_rules, "worker": _worker_rules}.get(service, lambda _: [])(recording)


def _process_rules(recording: Recording, service: str) -> list[_Rule]:
    entity = recording.entity(service)
    share = entity.of("process.memory.usage") / entity.of("process.memory.usage.limit")
    files = entity.of("process.unix.file_descriptor.count") / entity.of("process.unix.file_descriptor.count.limit")

    def collecting(k: int, rng: np.random.Generator) -> str:
        return f"long garbage collection: pause {rng.gamma(4, 90 * share[k]):.0f} ms, heap {100 * share[k]:.0f} %"

    return [
        ("WARN", 1.5 * (share > 0.9), collecting),
        ("ERROR", 1.5 * (share >= 1), lambda k, rng: "OutOfMemoryError: cannot allocate, killing request"),
        ("ERROR", 2.0 * (files >= 1), lambda k, rng: "accept: too many open files"),
    ]


def _web_rules(recording: Recording, service: str) -> list[_Rule]:
    entity = recording.entity(service)
    ratio, p50, p99 = (
        entity.of(f"http.server.request.{name}") for name in ("error_ratio", "duration.p50", "duration.p99")
    )
    objective = entity.of("http.server.request.duration.p99.limit")

    def answered(status: int) -> _Body:
        def line(k: int, rng: np.random.Generator) -> str:
            route = str(rng.choice(_ROUTES)).format(n=int(rng.integers(10_000)))
            took = p50[k] * np.exp(rng.normal(0, np.log(max(p99[k] / p50[k], 1.1)) / 2.4))
            return f"GET {route} {status} {1000 * took:.0f} ms"

        return line

    def slow(k: int, rng: np.random.Generator) -> str:
        return f"slow request: {p99[k] * rng.uniform(0.9, 1.3):.2f} s"

    return [
        ("INFO", np.full(len(ratio), 0.12), answered(200)),
        ("ERROR", np.minimum(2.5, 25 * np.maximum(ratio - 0.005, 0)) + 0.01, answered(500)),
        ("WARN", 1.2 * (p99 > 0.75 * objective), slow),
    ]


def _pool_rule(recording: Recording, service: str) -> _Rule:
    entity = recording.entity(service)
    usage, size = entity.of("db.client.connections.usage"), entity.of("db.client.connections.max")
    pending = entity.of("db.client.connections.pending_requests")

    def waiting(k: int, rng: np.random.Generator) -> str:
        return f"timeout waiting for a connection: pool {usage[k]:.0f}/{size[k]:.0f}, {pending[k]:.0f} waiting"

    return "ERROR", 2.0 * (usage >= size), waiting


def _database_rules(recording: Recording) -> list[_Rule]:
    entity = recording.entity("checkout-db")
    disk = entity.of("system.filesystem.usage") / entity.of("system.filesystem.usage.limit")
    p99 = entity.of("db.server.query.duration.p99")

    def slow(k: int, rng: np.random.Generator) -> str:
        return f"duration: {1000 * p99[k] * rng.uniform(1, 1.6):.0f} ms  statement: fetch_open_orders"

    def low(k: int, rng: np.random.Generator) -> str:
        return f"disk is {100 * disk[k]:.1f} % full"

    rng = np.random.default_rng([recording.seed, 29])
    checkpoints = (rng.random(len(disk)) < recording.step_seconds / 1800).astype(np.float64)
    return [
        ("WARN", 1.5 * (p99 > 0.12), slow),
        ("WARN", 0.1 * (disk > 0.85), low),
        ("ERROR", 2.0 * (disk >= 1), lambda k, rng: "could not extend file: No space left on device"),
        ("INFO", checkpoints, lambda k, rng: f"checkpoint complete: wrote {int(rng.integers(900, 9000))} buffers"),
    ]


def _worker_rules(recording: Recording) -> list[_Rule]:
    entity = recording.entity("worker")
    depth, limit = entity.of("messaging.queue.depth"), entity.of("messaging.queue.depth.limit")

    def behind(k: int, rng: np.random.Generator) -> str:
        return f"consumer is behind: {depth[k]:.0f} messages"

    return [
        ("WARN", 0.5 * (depth > 0.3 * limit), behind),
        ("ERROR", 2.0 * (depth >= limit), lambda k, rng: "queue is full: message refused"),
    ]

"""Queueing theory in closed form: waiting times, fluid overload, retries, percentiles."""

from dataclasses import dataclass, field
from math import sqrt


def queue_wait(utilisation: float, servers: float, service_seconds: float) -> float:
    """Mean wait in an M/M/c queue in seconds, by Sakasegawa's approximation (1977).

    W = s · ρ^(√(2(c+1)) − 1) / (c · (1 − ρ)); ρ is held below 0.98, beyond it `Station` queues as a fluid.
    """
    rho = min(max(utilisation, 0.0), 0.98)
    return service_seconds * rho ** (sqrt(2 * (servers + 1)) - 1) / (servers * (1 - rho))


def retry_amplification(error_ratio: float, attempts: int, budget: float) -> float:
    """Requests sent for each that was wanted: 1 + e + e² + …, held to 1 + budget as retry budgets do."""
    amplification = sum(error_ratio**i for i in range(attempts))
    return min(amplification, 1 + budget)


@dataclass(slots=True)
class Station:
    """Servers with a queue in front: M/M/c while there is capacity, a fluid backlog when there is not.

    servers: how many work in parallel. patience_seconds: how long a request waits before it is given up; it bounds
    the backlog. longest_queue: how many can wait at all, because callers hold them back (a connection pool), not
    because they are dropped. After `serve`, the other attributes tell how it went.
    """

    servers: float
    patience_seconds: float
    longest_queue: float | None = None
    utilisation: float = 0.0  # 0 to 1
    wait_seconds: float = 0.0  # mean, of those who were served
    dropped_ratio: float = 0.0  # share of the arrivals that was given up
    _backlog: float = field(default=0.0)

    def serve(self, arrivals: float, service_seconds: float, dt: float, capacity: float = 1.0) -> None:
        """One step of `dt` seconds: `arrivals` per second, each takes `service_seconds`; capacity: share that works."""
        rate = max(self.servers * capacity / service_seconds, 1e-9)
        backlog = max(0.0, self._backlog + (arrivals - rate) * dt)
        room = rate * self.patience_seconds if self.longest_queue is None else self.longest_queue
        held = min(backlog, room)
        self.dropped_ratio = (
            min(1.0, (backlog - held) / max(arrivals * dt, 1e-9)) if self.longest_queue is None else 0.0
        )
        self.utilisation = min(1.0, (arrivals + self._backlog / dt) / rate)
        self.wait_seconds = queue_wait(arrivals / rate, self.servers, service_seconds) + held / rate
        self._backlog = held


@dataclass(slots=True)
class Pool:
    """A pool of connections: how many are in use by Little's law (N = λ · hold), how many callers wait.

    size: limit of the pool. patience_seconds: how long a caller waits for a connection.
    """

    size: int
    patience_seconds: float
    in_use: float = 0.0
    pending: float = 0.0
    wait_seconds: float = 0.0
    blocked_ratio: float = 0.0  # share of the callers that gave up

    def lend(self, rate: float, hold_seconds: float, leaked: float) -> None:
        """One step: `rate` borrowers per second hold a connection for `hold_seconds`; `leaked` never come back."""
        available = max(self.size - leaked, 0.5)
        wanted = rate * hold_seconds
        load = wanted / available
        self.blocked_ratio = max(0.0, 1 - 1 / load) if load > 0 else 0.0
        self.in_use = min(self.size, leaked + wanted)
        self.wait_seconds = min(
            self.patience_seconds,
            queue_wait(load, available, hold_seconds) + self.patience_seconds * min(1.0, 4 * self.blocked_ratio),
        )
        self.pending = rate * (1 - self.blocked_ratio) * self.wait_seconds
        self.pending += rate * self.blocked_ratio * self.patience_seconds


def timeouts(p99_seconds: float, timeout_seconds: float) -> float:
    """Share of requests that run into the timeout: none while the 99th percentile is under 0.7 of it, at most half."""
    return min(0.5, max(0.0, (p99_seconds / timeout_seconds - 0.7) / 1.5))

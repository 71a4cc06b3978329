"""The services that keep data: cache, database, and the worker that empties the queue."""

from math import exp

from forewarn.simulation.faults import Faults
from forewarn.simulation.noise import Noise
from forewarn.simulation.process import Process
from forewarn.simulation.queueing import Pool, Station
from forewarn.simulation.topology import (
    API_POOL,
    DB_CONNECTIONS,
    DISK_BYTES,
    PROFILES,
    QUEUE_LIMIT,
    REDIS_BYTES,
    WORKER_POOL,
)

Row = tuple[float, ...]


class Cache:
    """Fills after a start, then evicts: a plateau near its limit that is no danger."""

    lookups_per_request = 4.0

    def __init__(self, noise: Noise) -> None:
        self.process = Process("cache", PROFILES["cache"], noise)
        self.hit_ratio = 0.9
        self._fill = 0.93
        self._plateau = (0.948 + noise.wandering("cache-plateau", 0.006, 20_000)).tolist()
        self._hit_noise = noise.normal("cache-hits", 0.004).tolist()
        self._memory_noise = noise.normal("cache-fill", 0.0012).tolist()

    def restart(self, at: float, rolling_steps: int = 0) -> None:
        """Empty; it comes back with a part of its keys from the snapshot."""
        self.process.restart(at)
        self._fill = 0.55

    def step(self, k: int, dt: float, requests: float, faults: Faults) -> Row:
        """`requests`: of the api per second."""
        plateau = self._plateau[k]
        self._fill += (plateau - self._fill) * min(1.0, dt / 9000 * (0.2 + requests / 120))
        usual = 0.905 * min(1.0, 0.45 + 0.55 * self._fill / plateau) + self._hit_noise[k]
        self.hit_ratio = min(0.99, max(0.01, usual * (1 - faults.cache_loss)))
        memory = min(0.985, self._fill + self._memory_noise[k])
        busy = 0.05 + self.lookups_per_request * requests / 6000
        in_process = memory * REDIS_BYTES / self.process.profile.memory_limit
        base = self.process.step(k, dt, busy, 60 + requests * 0.3, in_process + faults.cache_leak, 0.0)
        return (*base, float(round(memory * REDIS_BYTES)), float(REDIS_BYTES), self.hit_ratio)


class Database:
    """Answers queries of api, worker and nightly jobs; keeps data, logs and WAL on one disk."""

    cores = 8
    query_seconds_idle = 0.010

    def __init__(self, noise: Noise) -> None:
        self.process = Process("checkout-db", PROFILES["checkout-db"], noise)
        self.station = Station(self.cores, patience_seconds=12, longest_queue=API_POOL + WORKER_POOL)
        self.query_seconds = self.query_seconds_idle
        self.disk_full = False
        self._open = 0.0
        self._p99_noise = (1 + noise.normal("db-p99", 0.05)).tolist()
        self._connection_noise = (1 + noise.normal("db-connections", 0.008)).tolist()

    def restart(self, at: float, rolling_steps: int = 0) -> None:
        """A fail-over to the standby: connections are opened anew."""
        self.process.restart(at)
        self._open = 0.0

    def answer(self, rate: float, dt: float, faults: Faults) -> None:
        """Serve `rate` queries per second; `query_seconds` is their mean latency afterwards."""
        service = self.query_seconds_idle * (1 + faults.db_slowdown) * self.process.slowdown()
        self.station.serve(rate, service, dt)
        latency = service + self.station.wait_seconds
        # Callers adapt within minutes: without this, steps of a minute would swing between full and empty.
        self.query_seconds += (latency - self.query_seconds) * (1 - exp(-dt / 150))

    def step(self, k: int, dt: float, rate: float, disk_share: float, in_use: float, faults: Faults) -> Row:
        """`in_use`: connections that pools have in use; disk_share: what is on the disk without a failure."""
        kept = self._open + (in_use * 1.06 - self._open) * min(1.0, dt / 600)
        self._open = max(kept, in_use)  # pools close idle connections slowly
        sessions = (self._open + 14) * self._connection_noise[k] + faults.db_connections
        connections = float(round(min(sessions, DB_CONNECTIONS)))
        disk = min(1.0, disk_share + faults.disk)
        self.disk_full = disk >= 1
        busy = min(1.0, 0.03 + self.station.utilisation)
        base = self.process.step(k, dt, busy, 2 * connections, 0.0, 0.0)
        p99 = (
            3 * (self.query_seconds - self.station.wait_seconds) + 4.6 * self.station.wait_seconds
        ) * self._p99_noise[k]
        storage = (float(round(disk * DISK_BYTES)), float(DISK_BYTES))
        return (*base, connections, float(DB_CONNECTIONS), *storage, min(p99, 20.0), rate)


class Worker:
    """Takes orders from the queue and writes them to the database."""

    messages_per_request = 0.3
    queries_per_message = 2.0
    consumers = 36
    seconds_per_message = 0.36

    def __init__(self, noise: Noise) -> None:
        self.process = Process("worker", PROFILES["worker"], noise)
        self.pool = Pool(WORKER_POOL, patience_seconds=4)
        self.depth = 0.0
        self.rate = 0.0  # messages per second of the last step
        self.refused_ratio = 0.0  # share of the messages for which the queue had no room
        self.scaled_out = False
        self.deploying = 0
        self._pool_noise = (1 + noise.normal("worker-pool", 0.03)).tolist()
        self._speed = noise.wandering("worker-speed", 0.02, 1800).tolist()
        self._waiting = noise.generator("worker-waiting").exponential(1, noise.steps).tolist()

    def restart(self, at: float, rolling_steps: int = 0) -> None:
        """A deploy or a restart; messages stay in the queue."""
        self.process.restart(at)
        self.deploying = rolling_steps

    def step(self, k: int, dt: float, arrivals: float, query_seconds: float, stopped: bool, faults: Faults) -> Row:
        """`arrivals`: messages per second; `stopped`: nothing can be written."""
        hold = 0.2 + self.queries_per_message * query_seconds
        working = self._working(faults)
        capacity = working * self.consumers * (1 + self._speed[k])
        capacity /= self.seconds_per_message * self.process.slowdown() + self.queries_per_message * query_seconds
        free = max(self.pool.size - faults.worker_connections, 0.5)
        capacity = 0.02 if stopped else min(capacity, free / hold)
        before = self.depth
        self.rate = min(capacity, arrivals + before / dt)
        depth = max(0.0, before + (arrivals - self.rate) * dt)
        self.depth = min(depth, QUEUE_LIMIT)
        self.refused_ratio = min(1.0, (depth - self.depth) / max(arrivals * dt, 1e-9))
        self.scaled_out = self.scaled_out and self.depth > 500
        short_of = min(capacity * 1.3, arrivals + before / dt) if faults.worker_connections > 0 else self.rate
        self.pool.lend(max(short_of, self.rate), hold * self._pool_noise[k], faults.worker_connections)
        return self._row(k, dt, capacity, arrivals, faults)

    def _working(self, faults: Faults) -> float:
        """Share of the consumers that work; scaled out: more of them until the queue is empty."""
        share = 0.6 if self.deploying > 0 else 1.0
        self.deploying = max(0, self.deploying - 1)
        share *= 0.5 if self.process.out_of_memory else 1.0
        return share * (1 - min(faults.worker_loss, 0.985)) * (1.7 if self.scaled_out else 1.0)

    def _row(self, k: int, dt: float, capacity: float, arrivals: float, faults: Faults) -> Row:
        busy = min(1.0, self.rate / max(capacity, 1e-9)) * min(1.0, self.rate / 60)
        base = self.process.step(k, dt, 0.8 * busy, self.pool.in_use, faults.worker_leak, 0.0)
        load = min(0.95, arrivals / max(capacity, 1e-9))
        shown = self.depth + arrivals * (0.4 + load / (1 - load) * 0.3) * (0.5 + 0.5 * self._waiting[k])
        pool = (float(round(self.pool.in_use)), float(self.pool.size), self.pool.pending)
        return (*base, *pool, float(round(min(shown, QUEUE_LIMIT))), float(QUEUE_LIMIT), self.rate)

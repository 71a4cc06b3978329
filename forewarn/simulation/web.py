"""The services that answer HTTP requests: gateway, api, payment."""

from math import exp, sqrt

from forewarn.simulation.faults import Faults
from forewarn.simulation.noise import Noise
from forewarn.simulation.process import Process
from forewarn.simulation.queueing import Pool, Station, timeouts
from forewarn.simulation.topology import API_POOL, ERROR_OBJECTIVE, P99_OBJECTIVES, PROFILES

Row = tuple[float, ...]


class WebService:
    """What gateway, api and payment have in common: a station, a process, counters, percentiles, an error ratio."""

    name = ""

    def __init__(self, noise: Noise, station: Station) -> None:
        self.station = station
        self.process = Process(self.name, PROFILES[self.name], noise)
        self.p50 = self.p99 = self.mean_seconds = 0.05
        self.error_ratio = 0.0  # of the last step, before noise
        self.deploying = 0  # steps that a rolling deploy still takes
        self._requests = self._errors = 0.0
        self._objective = P99_OBJECTIVES[self.name]
        self._p50_noise = (1 + noise.normal(f"{self.name}-p50", 0.02)).tolist()
        self._p99_noise = (1 + noise.normal(f"{self.name}-p99", 0.035)).tolist()
        self._error_noise = noise.normal(f"{self.name}-errors").tolist()

    def restart(self, at: float, rolling_steps: int = 0) -> None:
        """A deploy (rolling: one part after the other) or a restart of all."""
        self.process.restart(at)
        self._requests = self._errors = 0.0
        self.deploying = rolling_steps

    def capacity(self) -> float:
        """Share of the servers that work: fewer while a deploy goes through and out of memory."""
        share = 0.75 if self.deploying > 0 else 1.0
        self.deploying = max(0, self.deploying - 1)
        return share * (0.7 if self.process.out_of_memory else 1.0)

    def own_errors(self, base: float, fault: float) -> float:
        """Share of requests that fail in this service itself."""
        dying = 0.22 if self.process.out_of_memory else 0.03 * self.process.pressure
        return 1 - (1 - base) * (1 - fault) * (1 - dying) * (1 - self.station.dropped_ratio)

    def measured(self, k: int, dt: float, rate: float) -> Row:
        """Counters, percentiles, error ratio and active requests as they are measured, with their limits."""
        count = max(rate * dt, 1e-9)
        a_minute = max(rate * 60, 1e-9)  # the noise is that of a minute's average, scaled to the step
        spread = sqrt(max(self.error_ratio * (1 - self.error_ratio), 0.0) / a_minute)
        ratio = min(1.0, max(0.0, self.error_ratio + 0.8 * spread * self._error_noise[k]))
        self._requests += count
        self._errors += ratio * count
        return (
            float(round(self._requests)),
            float(round(self._errors)),
            self.p50 * self._p50_noise[k],
            self.p99 * self._p99_noise[k],
            self._objective,
            ratio,
            ERROR_OBJECTIVE,
            rate * self.mean_seconds,
        )


class Payment(WebService):
    """Asks a payment provider outside; its threads wait for the answers."""

    name = "payment"
    _timeout_seconds = 6.0

    def __init__(self, noise: Noise) -> None:
        super().__init__(noise, Station(servers=40, patience_seconds=8))

    def step(self, k: int, dt: float, rate: float, provider_factor: float, faults: Faults) -> Row:
        """`rate`: calls per second; provider_factor: how slow the provider is today."""
        service = (0.24 * provider_factor + faults.payment_delay) * self.process.slowdown()
        self.station.serve(rate, service, dt, self.capacity())
        wait = self.station.wait_seconds
        self.mean_seconds = min(service + wait, 12.0)
        self.p50 = min(0.85 * service + 0.7 * wait, 12.0)
        self.p99 = min(2.8 * service + 4.6 * wait, 15.0)
        own = self.own_errors(0.004, faults.payment_errors)
        self.error_ratio = 1 - (1 - own) * (1 - timeouts(self.p99, self._timeout_seconds))
        busy = 0.06 + 0.5 * self.station.utilisation
        base = self.process.step(k, dt, busy, 2 * rate * self.mean_seconds, faults.payment_leak, 0.0)
        return (*base, *self.measured(k, dt, rate))


class Api(WebService):
    """Carts and checkouts: looks up in the cache, opens a transaction for every other request, asks for payments."""

    name = "api"
    transactions_per_request = 0.5
    payments_per_request = 0.1
    queries_per_transaction = 1.8
    _own_seconds = 0.5  # what the code does while it holds the connection
    _timeout_seconds = 8.0

    def __init__(self, noise: Noise) -> None:
        super().__init__(noise, Station(servers=6, patience_seconds=8))
        self.pool = Pool(API_POOL, patience_seconds=4)
        self.hold_seconds = 0.0
        self._pool_noise = (1 + noise.normal("api-pool", 0.018)).tolist()

    def step(
        self,
        k: int,
        dt: float,
        rate: float,
        query_seconds: float,
        payment: Payment,
        write_errors: float,
        faults: Faults,
    ) -> Row:
        """`rate`: requests per second; query_seconds: mean latency of the database; write_errors: share of writes."""
        service = 0.0165 * self.process.slowdown()
        self.station.serve(rate, service, dt, self.capacity())
        transactions = rate * (1 - self.station.dropped_ratio) * self.transactions_per_request
        payment_share = self.payments_per_request / self.transactions_per_request
        crowded = self.station.utilisation**2  # threads wait for cores while they hold a connection
        self.hold_seconds = self._own_seconds * (1 + 0.2 * crowded) + self.queries_per_transaction * query_seconds
        self.hold_seconds += payment_share * min(payment.mean_seconds, 6.0)
        self.pool.lend(transactions, self.hold_seconds * self._pool_noise[k], faults.api_connections)
        self._latency(service, query_seconds, payment)
        self._error(payment, write_errors, faults)
        busy, connections = self.station.utilisation, self.pool.in_use + rate * self.mean_seconds
        base = self.process.step(k, dt, busy, connections, faults.api_leak, 0.0)
        pool = (float(round(self.pool.in_use)), float(self.pool.size), self.pool.pending)
        return (*base, *self.measured(k, dt, rate), *pool)

    def _latency(self, service: float, query: float, payment: Payment) -> None:
        wait, borrow = self.station.wait_seconds, self.pool.wait_seconds
        share = self.transactions_per_request
        self.mean_seconds = min(10.0, service + wait + 0.004 + share * (self.hold_seconds + borrow))
        self.p50 = min(10.0, service + wait + 0.004 + 0.25 * (self.hold_seconds + borrow))
        own = self._own_seconds * (1.4 + 0.9 * self.station.utilisation**2)
        p99 = 2.5 * service + 4.6 * wait + own + 5 * query + 0.6 * payment.p99 + 2.5 * borrow
        self.p99 = min(12.0, p99)

    def _error(self, payment: Payment, write_errors: float, faults: Faults) -> None:
        """A transaction fails with its pool, its writes and (in spite of retries) its payment."""
        share = self.transactions_per_request
        without = (1 - share * self.pool.blocked_ratio) * (1 - 0.6 * share * write_errors)
        without *= 1 - self.payments_per_request * payment.error_ratio * (0.7 + 0.3 * payment.error_ratio)
        without *= 1 - timeouts(self.p99, self._timeout_seconds)
        self.error_ratio = 1 - (1 - self.own_errors(0.003, faults.api_errors)) * without


class Gateway(WebService):
    """Takes the users' requests, hands them to the api, and asks again where that fails."""

    name = "gateway"
    _think_seconds = 8.5

    def __init__(self, noise: Noise) -> None:
        super().__init__(noise, Station(servers=4, patience_seconds=6))
        self._session_noise = noise.normal("gateway-sessions", 0.01).tolist()
        self._sessions = 0.0

    def accept(self, rate: float, dt: float) -> float:
        """Requests per second that come through to the api."""
        self.station.serve(rate, 0.0098 * self.process.slowdown(), dt, self.capacity())
        return rate * (1 - self.station.dropped_ratio)

    def step(self, k: int, dt: float, rate: float, users: float, api: Api, faults: Faults) -> Row:
        """`rate`: requests per second with retries of the users; `users`: without."""
        wait = self.station.wait_seconds
        service = 0.0098 * self.process.slowdown()
        self.mean_seconds = min(service + wait + api.mean_seconds, 14.0)
        self.p50 = min(service + 0.7 * wait + api.p50, 14.0)
        self.p99 = min(2.5 * service + 4.6 * wait + 1.04 * api.p99, 14.0)
        passed_on = api.error_ratio * (0.7 + 0.3 * api.error_ratio)  # a retry helps three of ten
        self.error_ratio = 1 - (1 - self.own_errors(0.001, faults.gateway_errors)) * (1 - passed_on)
        connections = rate * self.mean_seconds + 0.35 * self._sessions
        base = self.process.step(
            k, dt, self.station.utilisation, connections, faults.gateway_leak, faults.gateway_sockets
        )
        fresh = users * self._think_seconds * (1 + self._session_noise[k])
        keep = exp(-dt / 300) if self._sessions else 0.0
        self._sessions = keep * self._sessions + (1 - keep) * fresh
        return (*base, *self.measured(k, dt, rate), float(round(self._sessions)), users)

"""The shop at work: one step after the other, each service with the load that the others make."""

from collections.abc import Mapping, Sequence
from math import exp

from forewarn.simulation.calibration import CACHE_MISS_WORK
from forewarn.simulation.data import Cache, Database, Worker
from forewarn.simulation.demand import Outside
from forewarn.simulation.failures import Failure, Happening
from forewarn.simulation.faults import Faults
from forewarn.simulation.noise import Noise
from forewarn.simulation.queueing import retry_amplification
from forewarn.simulation.schedule import Release
from forewarn.simulation.topology import SERVICES
from forewarn.simulation.web import Api, Gateway, Payment, Row

_ROLLING_SECONDS = 180.0
_RETRY_BUDGET = 0.25  # the gateway's: at most a quarter more requests than there are
_PAYMENT_RETRY_BUDGET = 0.6

Service = Gateway | Api | Payment | Cache | Database | Worker


class Shop:
    """All services and what they told in each step; `rows[service]` has a tuple a step, in the order of the signals.

    deploys: which services get a new version in which step.
    """

    def __init__(
        self,
        noise: Noise,
        outside: Outside,
        failures: Sequence[Failure],
        deploys: Mapping[int, Sequence[tuple[str, str]]],
        releases: Sequence[Release] = (),
    ) -> None:
        self.gateway, self.api, self.payment = Gateway(noise), Api(noise), Payment(noise)
        self.cache, self.database, self.worker = Cache(noise), Database(noise), Worker(noise)
        self.rows: dict[str, list[Row]] = {service: [] for service in SERVICES}
        self.starts: dict[str, list[float]] = {service: [] for service in SERVICES}
        self.happenings: list[Happening] = []
        self._dt = noise.step_seconds
        self._services: dict[str, Service] = {
            "gateway": self.gateway,
            "api": self.api,
            "payment": self.payment,
            "cache": self.cache,
            "checkout-db": self.database,
            "worker": self.worker,
        }
        self._requests = outside.requests.tolist()
        self._provider = outside.provider_factor.tolist()
        self._batch_queries = outside.batch_queries.tolist()
        self._batch_messages = outside.batch_messages.tolist()
        self._disk = outside.disk_share.tolist()
        self._coming = sorted(failures, key=lambda failure: failure.first_step, reverse=True)
        self._going: list[Failure] = []
        self._deploys = deploys
        self._releases = sorted(releases, key=lambda release: release.seconds, reverse=True)
        self._blocked = 0.0  # share of transactions without a connection, as callers have felt it
        self._faults = Faults()

    def run(self) -> None:
        """All steps."""
        for k in range(len(self._requests)):
            self._begin(k)
            self._work(k)
            self._observe(k)

    def _begin(self, k: int) -> None:
        """Failures that begin, what is broken now, deploys of services that are not in trouble."""
        while self._coming and self._coming[-1].first_step <= k:
            failure = self._coming.pop()
            self._going.append(failure)
            injection = failure.injection
            if injection.by_deploy:
                self._deploy(k, injection.variant.service, "with a defect")
            self._tell(k, injection.variant.service, "onset", injection.text)
        if self._going:
            self._faults.clear()
            for failure in self._going:
                failure.apply(k, self._faults)
            self._going = [failure for failure in self._going if not failure.over]
        while self._releases and self._releases[-1].seconds <= k * self._dt:
            release = self._releases.pop()
            self._services[release.service].process.memory_per_request = release.memory_per_request
            self._deploy(k, release.service, f"with {release.memory_per_request:g} times the memory per request")
        for service, version in self._deploys.get(k, ()):
            if all(failure.injection.variant.service != service for failure in self._going):
                self._deploy(k, service, version)

    def _work(self, k: int) -> None:
        """One step of physics. Errors of the step before make the retries of this one."""
        dt, faults, rows = self._dt, self._faults, self.rows
        gateway, api, payment, database, worker = self.gateway, self.api, self.payment, self.database, self.worker
        users = self._requests[k] + faults.demand
        arrivals = users * (1 + 0.1 * gateway.error_ratio)
        accepted = gateway.accept(arrivals, dt)
        to_api = accepted * retry_amplification(api.error_ratio, 3, _RETRY_BUDGET)
        rows["cache"].append(self.cache.step(k, dt, to_api, faults))
        queries = self._queries(k, to_api)
        database.answer(queries, dt, faults)
        to_payment = to_api * (1 - api.error_ratio) * api.payments_per_request
        to_payment *= retry_amplification(payment.error_ratio, 4, _PAYMENT_RETRY_BUDGET)
        rows["payment"].append(payment.step(k, dt, to_payment, self._provider[k], faults))
        write_errors = 1.0 if database.disk_full else 0.3 * worker.refused_ratio
        rows["api"].append(api.step(k, dt, to_api, database.query_seconds, payment, write_errors, faults))
        messages = to_api * (1 - api.error_ratio) * worker.messages_per_request
        messages += self._batch_messages[k] + faults.queue_inflow
        rows["worker"].append(worker.step(k, dt, messages, database.query_seconds, database.disk_full, faults))
        in_use = api.pool.in_use + worker.pool.in_use
        rows["checkout-db"].append(database.step(k, dt, queries, self._disk[k], in_use, faults))
        rows["gateway"].append(gateway.step(k, dt, arrivals, users, api, faults))

    def _queries(self, k: int, requests: float) -> float:
        """Queries per second that reach the database: cache misses, transactions, messages, nightly jobs."""
        api, worker, cache = self.api, self.worker, self.cache
        misses = requests * cache.lookups_per_request * (1 - cache.hit_ratio)
        misses *= 1 + CACHE_MISS_WORK * self._faults.cache_loss
        self._blocked += (api.pool.blocked_ratio - self._blocked) * (1 - exp(-self._dt / 150))
        transactions = requests * (1 - self._blocked) * api.transactions_per_request
        orders = worker.rate * worker.queries_per_message
        return float(misses + transactions * api.queries_per_transaction + orders + self._batch_queries[k])

    def _observe(self, k: int) -> None:
        for service, starts in self.starts.items():
            starts.append(self._services[service].process.started_at)
        for failure in self._going:
            variant = failure.injection.variant
            kind = failure.observe(k, self.rows[variant.service][-1])
            if kind == "failure":
                self._tell(k, variant.service, kind, f"{variant.signal} reaches its limit")
            elif kind:
                self._repair(k, failure, kind)

    def _repair(self, k: int, failure: Failure, kind: str) -> None:
        variant = failure.injection.variant
        self._tell(k, variant.service, kind, f"{variant.repair} ({variant.scenario})")
        if variant.restarts:
            self._services[variant.service].restart((k + 1) * self._dt)
            self._tell(k, variant.service, "restart", f"{variant.service} restarted")
        if variant.scenario == "queue-backlog":
            self.worker.scaled_out = True

    def _deploy(self, k: int, service: str, version: str) -> None:
        self._services[service].restart(k * self._dt, max(1, round(_ROLLING_SECONDS / self._dt)))
        self._tell(k, service, "deployment", f"{service} {version} deployed")

    def _tell(self, k: int, service: str, kind: str, text: str) -> None:
        self.happenings.append(Happening(k * self._dt, service, kind, text))

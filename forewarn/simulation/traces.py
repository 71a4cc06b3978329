"""A sample of traces: who calls whom, how long it takes, what fails."""

from dataclasses import dataclass, field

import numpy as np

from forewarn.simulation.recording import NANOSECONDS, Recording


@dataclass(slots=True)
class EntitySpans:
    """Spans of one entity, in columns as `encode_spans` takes them."""

    entity: str
    trace_ids: list[bytes] = field(default_factory=list)
    span_ids: list[bytes] = field(default_factory=list)
    parent_span_ids: list[bytes] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    end_ns: list[int] = field(default_factory=list)
    errors: list[bool] = field(default_factory=list)


class Tracer:
    """Makes traces of single requests from the latencies and error ratios of a recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._p50: dict[str, list[float]] = {}
        self._p99: dict[str, list[float]] = {}
        self._errors: dict[str, list[float]] = {}
        for service in ("gateway", "api", "payment"):
            entity = recording.entity(service)
            self._p50[service] = entity.of("http.server.request.duration.p50").tolist()
            self._p99[service] = entity.of("http.server.request.duration.p99").tolist()
            self._errors[service] = entity.of("http.server.request.error_ratio").tolist()
        self._p99["checkout-db"] = recording.entity("checkout-db").of("db.server.query.duration.p99").tolist()

    def spans(self, steps: slice, every: int) -> list[EntitySpans]:
        """One trace in each `every`th step of these; at least one span for each entity that takes part."""
        spans: dict[str, EntitySpans] = {}
        for k in range(steps.start, steps.stop):
            if k % every == 0:
                _Trace(self, k, spans).write()
        return list(spans.values())

    def seconds(self, service: str, k: int, rng: np.random.Generator) -> float:
        """A duration in step `k`: log-normal with the percentiles that the service tells."""
        if service == "checkout-db":
            return float(self._p99[service][k] * rng.lognormal(-1.1, 0.4))
        if service == "cache":
            return float(rng.lognormal(-6.9, 0.4))
        p50, p99 = self._p50[service][k], self._p99[service][k]
        return float(p50 * np.exp(rng.normal() * np.log(max(p99 / p50, 1.05)) / 2.33))

    def fails(self, service: str, k: int, rng: np.random.Generator) -> bool:
        """Whether a request to the service fails in step `k`."""
        return bool(rng.random() < self._errors[service][k])

    def random(self, k: int) -> np.random.Generator:
        """The random stream of step `k`: does not depend on how the steps are cut into pieces."""
        return np.random.default_rng([self._recording.seed, 23, k])

    def time_ns(self, k: int) -> int:
        """When the traced request of step `k` ends."""
        return int(self._recording.times_ns[k])

    def entity(self, service: str) -> str:
        """Name of the service's entity."""
        return f"{self._recording.namespace}/{service}"


class _Trace:
    """One request on its way through the shop."""

    def __init__(self, tracer: Tracer, k: int, spans: dict[str, EntitySpans]) -> None:
        self._tracer, self._k, self._spans = tracer, k, spans
        self._rng = tracer.random(k)
        self._id = self._rng.bytes(16)

    def write(self) -> None:
        tracer, k, rng = self._tracer, self._k, self._rng
        with_payment = rng.random() < 0.4
        seconds = {service: tracer.seconds(service, k, rng) for service in ("api", "payment", "checkout-db", "cache")}
        parts = seconds["cache"] + seconds["checkout-db"] + with_payment * seconds["payment"]
        api = max(seconds["api"], parts + 0.004)
        payment_fails = with_payment and tracer.fails("payment", k, rng)
        api_fails = payment_fails or tracer.fails("api", k, rng)
        start = tracer.time_ns(k) - int((api + 0.006) * NANOSECONDS)
        root = self._span("gateway", "server", "GET /checkout", b"", start, api + 0.006, api_fails)
        at, parent = self._call("gateway", "api", "/api/checkout", root, start, 0.002, api, api_fails)
        at, _ = self._call("api", "cache", "GET cart", parent, at, 0.001, seconds["cache"], False)
        at, _ = self._call("api", "checkout-db", "INSERT orders", parent, at, 0.001, seconds["checkout-db"], False)
        if with_payment:
            at, _ = self._call("api", "payment", "POST /charge", parent, at, 0.001, seconds["payment"], payment_fails)
        self._hand_over(parent, at, seconds["checkout-db"])

    def _hand_over(self, parent: bytes, at: int, query: float) -> None:
        """An order goes through the queue to the worker, which writes it."""
        producer = self._span("api", "producer", "orders publish", parent, at, 0.001, False)
        consumer = self._span("worker", "consumer", "orders process", producer, at, 0.3 + query, False)
        self._call("worker", "checkout-db", "UPDATE stock", consumer, at, 0.01, query, False)

    def _call(
        self,
        client: str,
        server: str,
        operation: str,
        parent: bytes,
        at: int,
        after: float,
        seconds: float,
        error: bool,
    ) -> tuple[int, bytes]:
        """Client span and server span of a call; returns the time after it and the server span's id.

        For the call of the api itself the time is that of its beginning: its own calls happen within.
        """
        begin = at + int(after * NANOSECONDS)
        called = self._span(client, "client", operation, parent, begin, seconds + 0.001, error)
        span = self._span(server, "server", operation, called, begin + 500_000, seconds, error)
        return begin + (500_000 if server == "api" else int(seconds * NANOSECONDS)), span

    def _span(
        self, service: str, kind: str, operation: str, parent: bytes, start: int, seconds: float, error: bool
    ) -> bytes:
        entity = self._tracer.entity(service)
        spans = self._spans.setdefault(entity, EntitySpans(entity))
        span_id = self._rng.bytes(8)
        spans.trace_ids.append(self._id)
        spans.span_ids.append(span_id)
        spans.parent_span_ids.append(parent)
        spans.operations.append(operation)
        spans.kinds.append(kind)
        spans.start_ns.append(start)
        spans.end_ns.append(start + int(seconds * NANOSECONDS))
        spans.errors.append(error)
        return span_id

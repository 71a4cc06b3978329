"""What the gateway counts, for Prometheus and for `service_status`."""

from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Histogram, generate_latest

from forewarn.services.metrics import process_registry


class Meters:
    """Counters of one gateway; see `text` for Prometheus and `counters` for the heartbeat."""

    def __init__(self) -> None:
        self._registry = process_registry("gateway")
        self._requests = Counter(
            "forewarn_gateway_requests", "Requests answered.", ["door", "status"], registry=self._registry
        )
        self._bytes = Counter(
            "forewarn_gateway_body_bytes", "Bytes of accepted bodies, unpacked.", ["door"], registry=self._registry
        )
        self._messages = Counter(
            "forewarn_gateway_messages", "Messages that the broker acknowledged.", ["door"], registry=self._registry
        )
        self._dropped = Counter(
            "forewarn_gateway_dropped",
            "Records left out of what was taken.",
            ["door", "reason"],
            registry=self._registry,
        )
        self._scrubbed = Counter(
            "forewarn_gateway_scrubbed", "Secrets and personal data replaced.", ["rule"], registry=self._registry
        )
        self._seconds = Histogram(
            "forewarn_gateway_request_duration_seconds", "From first byte to answer.", ["door"], registry=self._registry
        )
        self.counters: dict[str, float] = {
            "requests_total": 0,
            "refused_total": 0,
            "messages_total": 0,
            "bytes_total": 0,
            "scrubbed_total": 0,
        }

    def accepted(self, door: str, body_bytes: int, messages: int) -> None:
        """A body was taken and delivered."""
        self._bytes.labels(door).inc(body_bytes)
        self._messages.labels(door).inc(messages)
        self.counters["bytes_total"] += body_bytes
        self.counters["messages_total"] += messages

    def dropped(self, door: str, reason: str, records: int) -> None:
        """Records of a request were left out."""
        if records:
            self._dropped.labels(door, reason).inc(records)

    def scrubbed(self, hits: Mapping[str, int]) -> None:
        """Rules replaced something so many times."""
        for rule, times in hits.items():
            self._scrubbed.labels(rule).inc(times)
            self.counters["scrubbed_total"] += times

    def scrubs(self, rules: Iterable[str]) -> None:
        """Rules that are in force, counted from 0 on."""
        for rule in rules:
            self._scrubbed.labels(rule)

    def answered(self, door: str, status: int, seconds: float) -> None:
        """A request was answered, whatever the answer."""
        self._requests.labels(door, str(status)).inc()
        self._seconds.labels(door).observe(seconds)
        self.counters["requests_total"] += 1
        self.counters["refused_total"] += status >= 400

    def text(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)

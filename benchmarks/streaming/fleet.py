"""A fleet that sends OTLP metrics: messages are made once and then only times and values are written into them."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.otlp_encode import encode_metrics
from forewarn.telemetry.samples import Kind, Series

START_NS = 1_767_600_000 // 900 * 900 * 10**9
LIMITED = 10  # of an entity's series have a limit, as many tell it
_TIME = 0x1234567812345678


def entity_series(entity: str, count: int = 50) -> list[Series]:
    """The series of an entity: usages, their limits, load, errors, latency, counters and gauges."""
    pools = [(("pool", str(i)),) for i in range(LIMITED)]
    series = [Series(entity, "app.pool.usage", pool) for pool in pools]
    series += [Series(entity, "app.pool.usage.limit", pool) for pool in pools]
    roles = ("http.server.request.rate", "http.server.error_ratio", "http.server.request.duration.p99")
    series += [Series(entity, role) for role in roles]
    for i in range(count - len(series)):
        kind = Kind.CUMULATIVE if i % 2 else Kind.GAUGE
        series.append(Series(entity, f"app.worker.{'processed' if i % 2 else 'queue'}", (("worker", str(i)),), kind))
    return series


@dataclass(frozen=True)
class Fleet:
    """`entities` with 50 series each; a message has one entity's series at one or several times."""

    entities: int
    namespace: str = "bench"

    @property
    def names(self) -> list[str]:
        """The entities."""
        return [f"{self.namespace}/service-{i:05d}" for i in range(self.entities)]

    def values(self, rng: np.random.Generator, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of one entity, float64 [50, T]: noise, limits, growing counters."""
        series = entity_series("x")
        values = rng.normal(50, 5, (len(series), len(times_ns)))
        values[:LIMITED] = 50 + (values[:LIMITED] - 50) / 50
        values[LIMITED : 2 * LIMITED] = 100.0
        seconds = (times_ns - START_NS) / 1e9
        for i, one in enumerate(series):
            if one.kind is Kind.CUMULATIVE:
                values[i] = 1e6 + 10 * seconds
        return values


class Template:
    """Messages of one entity with T times, made by writing into a copy of the first."""

    def __init__(self, entity: str, times: int = 1) -> None:
        series = entity_series(entity)
        marks = np.full(times, _TIME, np.int64)
        message = encode_metrics(entity, series, marks, np.ones((len(series), times)))
        mark = struct.pack("<Bq", 0x19, _TIME)
        starts = []
        at = message.find(mark)
        while at >= 0:
            starts.append(at + 1)
            at = message.find(mark, at + 17)
        self._message = np.frombuffer(message, np.uint8)
        self._shape = (len(series), times)
        self._at = np.array(starts).reshape(self._shape)[:, :, None] + np.arange(8)

    def messages(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> list[bytes]:
        """One message for each n: times_ns int64 [n, T], values float64 [n, S, T]."""
        out = np.repeat(self._message[None], len(times_ns), 0)
        times = np.ascontiguousarray(np.broadcast_to(times_ns[:, None, :], values.shape), "<i8")
        out[:, self._at] = times.view(np.uint8).reshape(*values.shape, 8)
        out[:, self._at + 9] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(*values.shape, 8)
        return [row.tobytes() for row in out]

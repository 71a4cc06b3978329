"""Samples of the connector as messages that the broker takes."""

from collections.abc import Iterator

from forewarn.stores.log import MAX_MESSAGE_BYTES
from forewarn.telemetry.connectors.stream import EntitySignals
from forewarn.telemetry.otlp_encode import encode_metrics

_POINT_BYTES = 40  # a data point without its attributes, and its share of the rest


def messages(told: EntitySignals) -> Iterator[bytes]:
    """ExportMetricsServiceRequests with the samples of an entity, in order of time."""
    row = sum(_POINT_BYTES + sum(len(k.encode()) + len(v.encode()) + 10 for k, v in s.attributes) for s in told.series)
    step = max(1, MAX_MESSAGE_BYTES // 2 // row)
    for first in range(0, len(told.times), step):
        part = slice(first, first + step)
        yield encode_metrics(told.entity, told.series, told.times[part], told.values[:, part])

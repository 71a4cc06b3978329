"""Spans of one entity to signals: rate, errors and duration of the service and of its operations."""

from collections.abc import Iterable
from typing import Self

import msgspec
from ddsketch import DDSketch

from forewarn.telemetry.connectors import names
from forewarn.telemetry.connectors.log_text import masked
from forewarn.telemetry.connectors.meter import OTHER, Values, known_by, slot
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.otlp_traces import Span, SpanKind

MOST_OPERATIONS = 20  # of an entity, with a series each
_ACCURACY = 0.01  # of a quantile, relative
_NAME = 120
_SERVED = (SpanKind.SERVER, SpanKind.CONSUMER)
_COUNTED = (*_SERVED, SpanKind.CLIENT, SpanKind.PRODUCER)


class Calls(msgspec.Struct):
    """Spans of one operation in one bucket."""

    durations: DDSketch
    calls: int = 0
    errors: int = 0


class SpanBucket(msgspec.Struct):
    """Calls by `kind name` of the operation."""

    operations: dict[str, Calls] = {}


class SpanMeter(msgspec.Struct):
    """Counts the spans of an entity. Served requests (server, consumer) are the service's; calls that it makes
    (client, producer) show its dependencies from its side; internal ones are not counted.

    operations: those that are told by name, and when they came first.
    """

    entity: str
    operations: dict[str, int] = {}

    @classmethod
    def begin(cls, entity: str, time: int) -> Self:
        """See `Meter`."""
        return cls(entity)

    def bucket(self) -> SpanBucket:
        """See `Meter`."""
        return SpanBucket()

    def count(self, bucket: SpanBucket, record: Span, options: Options) -> None:
        """See `Meter`. A span without a kind is a request if it has no parent."""
        kind = record.kind
        if kind == SpanKind.UNSPECIFIED and not record.parent_span_id:
            kind = SpanKind.SERVER
        if kind not in _COUNTED:
            return
        calls = bucket.operations.get(name := self._name(kind, record))
        if calls is None:
            calls = bucket.operations[name] = Calls(DDSketch(_ACCURACY))
        calls.calls += 1
        calls.errors += record.error
        calls.durations.add(record.duration_seconds)

    def close(self, bucket: SpanBucket, end: int, options: Options) -> Values:
        """See `Meter`. Without a call there is no error ratio and no duration."""
        served = [c for name, c in bucket.operations.items() if name.split(" ", 1)[0] in ("server", "consumer")]
        values = _signals(names.SERVICE_SPANS, (), served, options)
        for name in known_by(end, self.operations, bucket.operations):
            kind, operation = name.split(" ", 1)
            attributes = (("span.kind", kind), ("span.name", operation))
            calls = bucket.operations.get(name)
            values |= _signals(names.SPANS, attributes, [] if calls is None else [calls], options)
        return values

    def _name(self, kind: SpanKind, span: Span) -> str:
        name = f"{kind.name.lower()} {masked(span.operation[:_NAME])}"
        return (
            name if slot(self.operations, name, span.start, MOST_OPERATIONS) == name else f"{kind.name.lower()} {OTHER}"
        )


def _signals(prefix: str, attributes: tuple[tuple[str, str], ...], parts: Iterable[Calls], options: Options) -> Values:
    whole, calls, errors = DDSketch(_ACCURACY), 0, 0
    for part in parts:
        whole.merge(part.durations)
        calls += part.calls
        errors += part.errors
    values: Values = {(f"{prefix}.{names.CALLS_RATE}", attributes): calls / options.bucket}
    if calls:
        values[f"{prefix}.{names.ERROR_RATIO}", attributes] = errors / calls
        values[f"{prefix}.{names.P50}", attributes] = float(whole.get_quantile_value(0.5))
        values[f"{prefix}.{names.P99}", attributes] = float(whole.get_quantile_value(0.99))
    return values

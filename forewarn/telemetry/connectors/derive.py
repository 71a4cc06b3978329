"""The signals of a whole recording's logs and spans: the same functions as the stream's, in one go."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.connectors.kinds import LOGS, SPANS
from forewarn.telemetry.connectors.options import NANOSECONDS, Options
from forewarn.telemetry.connectors.stream import EntitySignals, Kind, SignalStream
from forewarn.telemetry.otlp_logs import LogRecord
from forewarn.telemetry.otlp_traces import Span, SpanKind
from forewarn.telemetry.recording import Logs, Recording, Spans
from forewarn.telemetry.samples import SampleBatch, Series

_PIECE_SECONDS = 3600
_KINDS = {"": SpanKind.UNSPECIFIED} | {kind.name.lower(): kind for kind in SpanKind if kind}


def derive(recording: Recording, options: Options | None = None, step_seconds: float = 0.0) -> SampleBatch:
    """Samples of the signals that the recording's logs and spans tell, in order of time.

    step_seconds: width of the window cells; buckets are no narrower. A sample stands at the end of its bucket, so it
    tells nothing of what comes after it.
    """
    options = options or Options()
    told: list[EntitySignals] = []
    if recording.logs is not None:
        told += _derived(LOGS, recording.logs.times, _log_records(recording.logs), options, step_seconds)
    if recording.spans is not None:
        told += _derived(SPANS, recording.spans.starts, _span_records(recording.spans), options, step_seconds)
    return as_batch(told)


def as_batch(told: list[EntitySignals]) -> SampleBatch:
    """The samples as one batch, sorted by time."""
    number: dict[Series, int] = {}
    index, times, values = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0)]
    for one in told:
        rows = np.array([number.setdefault(series, len(number)) for series in one.series], np.int32)
        row, column = np.nonzero(~np.isnan(one.values))
        index.append(rows[row])
        times.append(one.times[column])
        values.append(one.values[row, column])
    at = np.concatenate(times)
    order = np.argsort(at, kind="stable")
    return SampleBatch(tuple(number), np.concatenate(index)[order], at[order], np.concatenate(values)[order])


def _derived(
    kind: Kind[Any], times: NDArray[np.int64], record: Callable[[int], object], options: Options, step_seconds: float
) -> Iterator[EntitySignals]:
    """Take the records in pieces of an hour, in order of time."""
    stream = SignalStream(kind, options, lambda _: step_seconds)
    pieces = np.flatnonzero(np.diff(times // (_PIECE_SECONDS * NANOSECONDS))) + 1
    for piece in np.split(np.arange(len(times)), pieces):
        yield from stream.take(record(int(i)) for i in piece)
    yield from stream.close_idle()


def _log_records(logs: Logs) -> Callable[[int], LogRecord]:
    return lambda i: LogRecord(int(logs.times[i]), logs.entities[logs.index[i]], logs.severities[i], logs.bodies[i])


def _span_records(spans: Spans) -> Callable[[int], Span]:
    def record(i: int) -> Span:
        return Span(
            spans.trace_ids[i],
            spans.span_ids[i],
            spans.parent_span_ids[i],
            spans.entities[spans.index[i]],
            _KINDS.get(str(spans.kinds[i]), SpanKind.UNSPECIFIED),
            str(spans.operations[i]),
            int(spans.starts[i]),
            float(spans.durations[i]),
            bool(spans.errors[i]),
        )

    return record

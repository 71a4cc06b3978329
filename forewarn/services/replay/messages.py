"""One chunk of a recording as OTLP messages: one of each kind for each entity."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forewarn.services.replay.timeline import SECOND, Chunk
from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics, encode_spans
from forewarn.telemetry.recording import Logs, Recording, Spans
from forewarn.telemetry.samples import Kind, Series

_SERVICE_GRAPH = "traces_service_graph_request_total"  # of the Collector's service graph connector


class Messages:
    """Makes the messages of a recording, chunk by chunk.

    shift_ns: added to every event time. known_every_seconds: how often limits and calls between services are told
    again, for who missed them. Chunks must be asked for in order.
    """

    def __init__(self, recording: Recording, shift_ns: int, known_every_seconds: float) -> None:
        self._recording, self._shift = recording, shift_ns
        self._every = int(known_every_seconds * SECOND)
        self._told_at: int | None = None
        self._times_told = 0
        names = {s.entity for s in recording.metrics.series} | {client for client, _ in recording.topology}
        self._entities = sorted(names)
        number = {name: i for i, name in enumerate(self._entities)}
        self._entity_of_series = np.array([number[s.entity] for s in recording.metrics.series], np.int32)
        self._limits: dict[str, list[tuple[Series, float]]] = {}
        for limit in recording.limits:
            told = replace(limit.series, signal=f"{limit.series.signal}.limit", kind=Kind.GAUGE)
            self._limits.setdefault(limit.series.entity, []).append((told, limit.value))
        self._servers: dict[str, list[str]] = {}
        for client, server in recording.topology:
            self._servers.setdefault(client, []).append(server)

    def metrics(self, chunk: Chunk) -> Iterator[bytes]:
        """ExportMetricsServiceRequests: the samples of an entity, now and then with its limits and its calls."""
        due = self._told_at is None or chunk.start - self._told_at >= self._every
        if due:
            self._told_at = chunk.start
            self._times_told += 1
        parts = self._by_entity(chunk)
        for number, entity in enumerate(self._entities):
            rows = parts.get(number)
            known = self._known(entity) if due else []
            if rows is None and not (due and entity in self._servers):
                continue
            yield self._metrics_message(entity, rows, known, chunk)

    def logs(self, chunk: Chunk) -> Iterator[bytes]:
        """ExportLogsServiceRequests, one an entity."""
        logs = self._recording.logs
        if logs is not None:
            for entity, rows in _rows_by_entity(logs.index, chunk.logs):
                yield self._logs_message(logs.entities[entity], logs, rows)

    def spans(self, chunk: Chunk) -> Iterator[bytes]:
        """ExportTraceServiceRequests, one an entity."""
        spans = self._recording.spans
        if spans is not None:
            for entity, rows in _rows_by_entity(spans.index, chunk.spans):
                yield self._spans_message(spans.entities[entity], spans, rows)

    def _by_entity(self, chunk: Chunk) -> dict[int, NDArray[np.int64]]:
        index = self._recording.metrics.index[chunk.metrics]
        owners = self._entity_of_series[index] if len(index) else np.empty(0, np.int32)
        return dict(_rows_by_entity(owners, slice(0, len(owners)), chunk.metrics.start))

    def _known(self, entity: str) -> list[tuple[Series, float]]:
        """Limits and calls. Who calls whom is known, not how often: the counter just grows."""
        calls = [
            (
                Series(entity, _SERVICE_GRAPH, (("client", entity), ("server", server)), Kind.CUMULATIVE, "{request}"),
                float(self._times_told),
            )
            for server in self._servers.get(entity, ())
        ]
        return self._limits.get(entity, []) + calls

    def _metrics_message(
        self, entity: str, rows: NDArray[np.int64] | None, known: list[tuple[Series, float]], chunk: Chunk
    ) -> bytes:
        batch = self._recording.metrics
        rows = np.empty(0, np.int64) if rows is None else rows
        times, column = np.unique(batch.times[rows], return_inverse=True)
        numbers, line = np.unique(batch.index[rows], return_inverse=True)
        if not len(times):
            times = np.array([chunk.start], np.int64)
        values = np.full((len(numbers) + len(known), len(times)), np.nan)
        values[line, column] = batch.values[rows]
        values[len(numbers) :, 0] = [value for _, value in known]
        series = [batch.series[n] for n in numbers] + [s for s, _ in known]
        return encode_metrics(entity, series, times + self._shift, values)

    def _logs_message(self, entity: str, logs: Logs, rows: NDArray[np.int64]) -> bytes:
        return encode_logs(
            entity,
            (logs.times[rows] + self._shift).tolist(),
            [logs.severities[i] for i in rows],
            [logs.bodies[i] for i in rows],
            [logs.attributes[i] for i in rows] if logs.attributes else None,
            [bytes.fromhex(logs.trace_ids[i]) for i in rows],
            [bytes.fromhex(logs.span_ids[i]) for i in rows],
        )

    def _spans_message(self, entity: str, spans: Spans, rows: NDArray[np.int64]) -> bytes:
        starts = spans.starts[rows] + self._shift
        ends = starts + np.round(spans.durations[rows] * SECOND).astype(np.int64)
        return encode_spans(
            entity,
            _unhex(spans.trace_ids[rows]),
            _unhex(spans.span_ids[rows]),
            _unhex(spans.parent_span_ids[rows]),
            spans.operations[rows].tolist(),
            spans.kinds[rows].tolist(),
            starts.tolist(),
            ends.tolist(),
            spans.errors[rows].tolist(),
        )


def _rows_by_entity(index: NDArray[np.int32], rows: slice, first: int = 0) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Entity and its rows, counted from `first` + rows.start, in the order of time."""
    owners = index[rows]
    if not len(owners):
        return  # np.split makes one piece of nothing
    order = np.argsort(owners, kind="stable")
    numbers, starts = np.unique(owners[order], return_index=True)
    for number, mine in zip(numbers, np.split(order, starts[1:]), strict=True):
        yield int(number), mine.astype(np.int64) + first + rows.start


def _unhex(ids: NDArray[np.bytes_]) -> list[bytes]:
    return [bytes.fromhex(each.decode()) for each in ids]

"""Who calls whom, from spans and from the service graph metric of OpenTelemetry's Collector."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from forewarn.stores.event_rows import Calls
from forewarn.telemetry.otlp_traces import Span
from forewarn.telemetry.samples import Kind, SampleBatch, Series, namespace_of

_SPANS_KEPT = 200_000
_SERIES_KEPT = 100_000
_CALLS = "traces_service_graph_request_total"
_ERRORS = "traces_service_graph_request_failed_total"

Edges = dict[tuple[str, str], Calls]


class SpanEdges:
    """Finds spans whose parent belongs to another entity; parents and children may come in any order.

    It remembers the last 200,000 spans: a child that comes later than that after its parent tells no edge.
    """

    def __init__(self) -> None:
        self._entities: dict[bytes, str] = {}  # by span id
        self._waiting: dict[bytes, list[Span]] = {}  # by the id of the parent that has not come

    def of(self, spans: Iterable[Span]) -> Edges:
        """Edges (client, server) that these spans complete."""
        edges: Edges = {}
        for span in spans:
            self._entities[span.span_id] = span.entity
            for child in self._waiting.pop(span.span_id, ()):
                _add(edges, span.entity, child)
            if span.parent_span_id in self._entities:
                _add(edges, self._entities[span.parent_span_id], span)
            elif span.parent_span_id:
                self._waiting.setdefault(span.parent_span_id, []).append(span)
        _trim(self._entities)
        _trim(self._waiting)
        return edges


class MetricEdges:
    """Edges from `traces_service_graph_request_total{client,server}` and its `…_failed_total`.

    A counter's first value makes the edge known, its growth from then on counts calls. A service is of the
    namespace of the entity that sends the metric unless its name has a '/'.
    """

    def __init__(self) -> None:
        self._last: dict[Series, float] = {}

    def of(self, batch: SampleBatch) -> Edges:
        """Edges (client, server) that the batch tells of."""
        edges: Edges = {}
        for number, series in enumerate(batch.series):
            ends = dict(series.attributes)
            if series.signal in (_CALLS, _ERRORS) and ends.get("client") and ends.get("server"):
                self._add(edges, batch, number, _edge(series, ends))
        if len(self._last) > _SERIES_KEPT:
            self._last.clear()
        return edges

    def _add(self, edges: Edges, batch: SampleBatch, number: int, edge: tuple[str, str]) -> None:
        chosen = np.flatnonzero((batch.index == number) & ~np.isnan(batch.values))
        if not len(chosen):
            return
        series, values = batch.series[number], batch.values[chosen]
        growth = round(float(values.sum() if series.kind == Kind.DELTA else self._growth(series, values)))
        calls = edges.setdefault(edge, Calls(0, 0, 0))
        calls.last_seen = max(calls.last_seen, int(batch.times[chosen].max()))
        if series.signal == _CALLS:
            calls.calls += growth
        else:
            calls.errors += growth

    def _growth(self, series: Series, values: np.ndarray) -> float:  # type: ignore[type-arg]
        before = self._last.get(series, values[0])
        self._last[series] = float(values[-1])
        steps = np.diff(values, prepend=before)
        return float(np.where(steps < 0, values, steps).sum())  # a fall is a restart from zero


def merge(into: Edges, edges: Edges) -> None:
    """Add the counts of `edges` to `into`."""
    for edge, calls in edges.items():
        known = into.setdefault(edge, Calls(0, 0, 0))
        known.calls += calls.calls
        known.errors += calls.errors
        known.last_seen = max(known.last_seen, calls.last_seen)


def _add(edges: Edges, client: str, span: Span) -> None:
    if client == span.entity:
        return
    calls = edges.setdefault((client, span.entity), Calls(0, 0, 0))
    calls.calls += 1
    calls.errors += span.error
    calls.last_seen = max(calls.last_seen, span.start)


def _edge(series: Series, ends: dict[str, str]) -> tuple[str, str]:
    namespace = namespace_of(series.entity)
    client, server = (
        f"{namespace}/{name}" if namespace and "/" not in name else name for name in (ends["client"], ends["server"])
    )
    return client, server


def _trim(kept: dict[bytes, Any]) -> None:
    for oldest in list(kept)[: max(0, len(kept) - _SPANS_KEPT)]:
        del kept[oldest]

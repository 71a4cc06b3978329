"""Who calls whom, from spans and from the service graph metric of OpenTelemetry's Collector."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np

from forewarn.stores.event_rows import Calls
from forewarn.telemetry.otlp_traces import Span
from forewarn.telemetry.samples import Kind, SampleBatch, Series, namespace_of

_SPANS_KEPT = 200_000
_CHILDREN_KEPT = 1_000  # of one parent that has not come
_SERIES_KEPT = 100_000
_CALLS = "traces_service_graph_request_total"
_ERRORS = "traces_service_graph_request_failed_total"
_MOST_CALLS = 2.0**53  # a float counts no calls beyond it

Edges = dict[tuple[str, str], Calls]


class _Child(NamedTuple):
    """What an edge needs of a span. start: nanoseconds since 1970."""

    entity: str
    error: bool
    start: int


class SpanEdges:
    """Finds spans whose parent belongs to another entity; parents and children may come in any order.

    It remembers the last 200,000 spans: a child that comes later than that after its parent tells no edge. So many wait
    for their parents, 1,000 of them for the same one.
    """

    def __init__(self) -> None:
        self._entities: dict[bytes, str] = {}  # by span id
        self._waiting: dict[bytes, deque[_Child]] = {}  # by the id of the parent that has not come
        self._waiting_count = 0

    def of(self, spans: Iterable[Span]) -> Edges:
        """Edges (client, server) that these spans complete."""
        edges: Edges = {}
        for span in spans:
            child = _Child(span.entity, span.error, span.start)
            self._entities[span.span_id] = span.entity
            for waiting in self._come(span.span_id):
                _add(edges, span.entity, waiting)
            if span.parent_span_id in self._entities:
                _add(edges, self._entities[span.parent_span_id], child)
            elif span.parent_span_id:
                self._wait(span.parent_span_id, child)
        self._trim()
        return edges

    def _come(self, parent: bytes) -> Iterable[_Child]:
        """The children that wait no longer."""
        children = self._waiting.pop(parent, ())
        self._waiting_count -= len(children)
        return children

    def _wait(self, parent: bytes, child: _Child) -> None:
        children = self._waiting.setdefault(parent, deque(maxlen=_CHILDREN_KEPT))
        self._waiting_count += len(children) < _CHILDREN_KEPT
        children.append(child)

    def _trim(self) -> None:
        for oldest in list(islice(self._entities, max(0, len(self._entities) - _SPANS_KEPT))):
            del self._entities[oldest]
        longest, over = [], self._waiting_count - _SPANS_KEPT
        for parent, children in self._waiting.items():
            if over <= 0:
                break
            longest.append(parent)
            over -= len(children)
        for parent in longest:
            self._come(parent)


class MetricEdges:
    """Edges from `traces_service_graph_request_total{client,server}` and its `…_failed_total`.

    A counter's first value makes the edge known, its growth from then on counts calls; values that count nothing (NaN,
    infinite, absurdly large) tell nothing. A service is of the namespace of the entity that sends the metric unless its
    name has a '/'.
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
        chosen = np.flatnonzero((batch.index == number) & (np.abs(batch.values) <= _MOST_CALLS))
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


def _add(edges: Edges, client: str, child: _Child) -> None:
    if client == child.entity:
        return
    calls = edges.setdefault((client, child.entity), Calls(0, 0, 0))
    calls.calls += 1
    calls.errors += child.error
    calls.last_seen = max(calls.last_seen, child.start)


def _edge(series: Series, ends: dict[str, str]) -> tuple[str, str]:
    namespace = namespace_of(series.entity)
    client, server = (
        f"{namespace}/{name}" if namespace and "/" not in name else name for name in (ends["client"], ends["server"])
    )
    return client, server

"""The service graph from spans and from the Collector's metric."""

from itertools import permutations

import numpy as np
import pytest

from forewarn.services.archiver import edges
from forewarn.services.archiver.edges import MetricEdges, SpanEdges, merge
from forewarn.telemetry.otlp_traces import Span, SpanKind
from forewarn.telemetry.samples import Kind, SampleBatch, Series


def span(entity: str, span_id: bytes, parent: bytes, error: bool = False) -> Span:
    return Span(b"t", span_id, parent, entity, SpanKind.SERVER, "op", 7, 0.1, error)


def test_edges_join_entities_in_any_order() -> None:
    spans = [span("web", b"1", b""), span("web", b"2", b"1"), span("api", b"3", b"2", True), span("db", b"4", b"3")]
    for order in permutations(spans):
        finder, found = SpanEdges(), {}
        for one in order:
            merge(found, finder.of([one]))
        assert {edge: (c.calls, c.errors) for edge, c in found.items()} == {
            ("web", "api"): (1, 1),
            ("api", "db"): (1, 0),
        }


def batch(signal: str, kind: Kind, values: list[float], **ends: str) -> SampleBatch:
    series = Series("shop/collector", signal, tuple(sorted(ends.items())), kind)
    n = len(values)
    return SampleBatch((series,), np.zeros(n, np.int32), np.arange(1, n + 1, dtype=np.int64), np.array(values))


def test_growth_of_the_service_graph_metric_counts_calls() -> None:
    finder = MetricEdges()
    ends = {"client": "web", "server": "pay/api"}
    first = finder.of(batch("traces_service_graph_request_total", Kind.CUMULATIVE, [100.0, 103.0], **ends))
    assert first[("shop/web", "pay/api")].calls == 3
    second = finder.of(batch("traces_service_graph_request_total", Kind.CUMULATIVE, [104.0, 2.0], **ends))
    assert second[("shop/web", "pay/api")].calls == 1 + 2  # it restarted
    failed = finder.of(batch("traces_service_graph_request_failed_total", Kind.DELTA, [2.0, 3.0], **ends))
    assert (failed[("shop/web", "pay/api")].calls, failed[("shop/web", "pay/api")].errors) == (0, 5)


def test_other_metrics_tell_no_edges() -> None:
    assert MetricEdges().of(batch("cpu", Kind.GAUGE, [1.0], client="a", server="b")) == {}


def test_values_that_count_nothing_tell_no_calls() -> None:
    finder, ends = MetricEdges(), {"client": "web", "server": "api"}
    values = [5.0, np.inf, -np.inf, np.nan, 1e300, 8.0]
    found = finder.of(batch("traces_service_graph_request_total", Kind.CUMULATIVE, values, **ends))
    assert found[("shop/web", "shop/api")].calls == 3
    assert finder.of(batch("traces_service_graph_request_total", Kind.DELTA, [np.inf], **ends)) == {}


def test_children_of_parents_that_never_come_take_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "_SPANS_KEPT", 100)
    monkeypatch.setattr(edges, "_CHILDREN_KEPT", 30)
    finder = SpanEdges()
    for k in range(10):
        finder.of([span("api", b"a%d-%d" % (k, n), b"first") for n in range(20)])  # a root that is never sent
    assert finder.of([span("web", b"first", b"")])[("web", "api")].calls == 30
    for parent in (b"old", b"p1", b"p2", b"new"):
        finder.of([span("api", b"%s-%d" % (parent, n), parent) for n in range(30)])
    assert finder.of([span("web", b"old", b"")]) == {}  # waited for the longest: it made room
    assert finder.of([span("web", b"new", b"")])[("web", "api")].calls == 30

"""The service graph from spans and from the Collector's metric."""

from itertools import permutations

import numpy as np

from forewarn.services.archiver.edges import MetricEdges, SpanEdges, merge
from forewarn.telemetry.otlp_traces import Span, SpanKind
from forewarn.telemetry.samples import Kind, SampleBatch, Series


def span(entity: str, span_id: bytes, parent: bytes, error: bool = False) -> Span:
    return Span(b"t", span_id, parent, entity, SpanKind.SERVER, "op", 7, 0.1, error)


def test_edges_join_entities_in_any_order() -> None:
    spans = [span("web", b"1", b""), span("web", b"2", b"1"), span("api", b"3", b"2", True), span("db", b"4", b"3")]
    for order in permutations(spans):
        finder, edges = SpanEdges(), {}
        for one in order:
            merge(edges, finder.of([one]))
        assert {edge: (c.calls, c.errors) for edge, c in edges.items()} == {
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

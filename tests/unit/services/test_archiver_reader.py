"""What the archiver makes of messages: of those that nobody foresaw, and of those that it reads again."""

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from forewarn.services.archiver import batch as batches
from forewarn.services.archiver.batch import Batch, Reader
from forewarn.telemetry import topics

SECOND = 10**9
EDGE = ("a", "b")


class Told:
    """A message of a topic, as the consumer hands it out."""

    def __init__(self, topic: str, value: bytes, offset: int = 0) -> None:
        self._topic, self._value, self._offset = topic, value, offset

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value


def calls(value: float, offset: int = 0) -> Told:
    """A message with one value of the service graph's counter."""
    point = pb.NumberDataPoint(time_unix_nano=(offset + 1) * SECOND, as_double=value)
    for key, name in (("client", "a"), ("server", "b")):
        point.attributes.add(key=key).value.string_value = name
    total = pb.Sum(
        data_points=[point], is_monotonic=True, aggregation_temporality=pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    request = ExportMetricsServiceRequest()
    metric = pb.Metric(name="traces_service_graph_request_total", sum=total)
    request.resource_metrics.add().scope_metrics.add().metrics.append(metric)
    return Told(topics.METRICS, request.SerializeToString(), offset)


def spans(*ids: tuple[str, str, str], offset: int = 0) -> Told:
    """A message of spans (service, span id, parent's id)."""
    request = ExportTraceServiceRequest()
    for service, span, parent in ids:
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.add(key="service.name").value.string_value = service
        of_resource.scope_spans.add().spans.add(
            span_id=span.encode(), parent_span_id=parent.encode(), start_time_unix_nano=SECOND
        )
    return Told(topics.SPANS, request.SerializeToString(), offset)


def read(reader: Reader, *messages: Told) -> Batch:
    batch = Batch()
    for message in messages:
        reader.add(batch, message)
    return batch


def test_a_message_that_breaks_a_decoder_is_unreadable_and_the_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = Told(topics.LOGS, b"bad", 1), calls(5.0, 2)

    def broken(payload: bytes) -> list[object]:
        raise OverflowError("nobody thought of this")

    monkeypatch.setattr(batches, "decode_logs", broken)
    batch = read(Reader(), bad, good)
    assert batch.unreadable == [(bad, "OverflowError: nobody thought of this")]
    assert batch.sample_count == 1
    assert [part.sample_count for part in batch.parts] == [0, 1]


def test_nothing_is_stored_of_a_message_that_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, spans: object) -> dict[object, object]:
        raise RuntimeError

    monkeypatch.setattr(batches.SpanEdges, "of", broken)
    batch = read(Reader(), spans(("web", "1", "")))
    assert len(batch.unreadable) == 1
    assert batch.spans == []


def test_an_infinite_count_of_calls_does_not_make_its_message_unreadable() -> None:
    batch = read(Reader(), calls(np.inf))
    assert (batch.unreadable, batch.sample_count) == ([], 1)


def test_what_is_read_again_counts_calls_once() -> None:
    reader = Reader()
    assert read(reader, calls(1000.0), calls(1010.0, 1)).edges[EDGE].calls == 10
    reader.restart()
    assert read(reader, calls(1000.0), calls(1010.0, 1)).edges[EDGE].calls == 10
    reader.restart()
    reader.warm_up(calls(1000.0))
    assert read(reader, calls(1010.0, 1)).edges[EDGE].calls == 10


def test_spans_that_are_read_again_wait_for_their_parent_once() -> None:
    reader, child = Reader(), spans(("api", "2", "1"))
    read(reader, child)
    reader.restart()
    assert read(reader, child, spans(("web", "1", ""), offset=1)).edges[("web", "api")].calls == 1


def test_the_parts_of_a_batch_are_what_each_message_gave() -> None:
    batch = read(Reader(), calls(1.0), calls(4.0, 1), spans(("web", "1", ""), ("api", "2", "1"), offset=7))
    assert [[c.calls for c in part.edges.values()] for part in batch.parts] == [[0], [3], [1]]
    assert batch.edges[EDGE].calls == 3
    assert [list(part.reached.values()) for part in batch.parts] == [[1], [2], [8]]
    again = Batch()
    for part in batch.parts:
        again.take(part)
    assert again == batch


def test_a_bad_message_that_is_stored_already_does_not_stop_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr(batches, "decode_metrics", broken)
    Reader().warm_up(calls(1.0))

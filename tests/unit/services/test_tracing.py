"""Traces of our own: ids without a receiver, links of a batch, headers on the log."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from forewarn.services import tracing

SENDER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class OnLog:
    """What a span needs of a message that was read."""

    def __init__(self, *headers: tuple[str, bytes]) -> None:
        self._headers = list(headers)

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers or None


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("forewarn"))
    yield exporter
    provider.shutdown()


def test_a_request_goes_on_in_the_senders_trace_and_its_log_lines_say_so(spans: InMemorySpanExporter) -> None:
    with tracing.request_span("POST /v1/metrics", {"traceparent": SENDER}):
        told = structlog.contextvars.get_contextvars()["trace_id"]
        ((name, header),) = tracing.trace_headers()
    (span,) = spans.get_finished_spans()
    assert told == "0af7651916cd43dd8448eb211c80319c" == trace.format_trace_id(span.context.trace_id)
    assert name == "traceparent" and header.decode().startswith(f"00-{told}-") and header.decode() != SENDER
    assert "trace_id" not in structlog.contextvars.get_contextvars()
    assert tracing.trace_headers() == [] and tracing.trace_id() == ""


def test_a_batch_is_linked_with_each_request_in_it_once(spans: InMemorySpanExporter) -> None:
    other = SENDER.replace("0af7", "1bf7")
    messages = [OnLog((tracing.HEADER, SENDER.encode()))] * 3 + [OnLog(), OnLog((tracing.HEADER, b"\xff garbage"))]
    messages += [OnLog((tracing.HEADER, other.encode()), ("reason", b"x"))]
    with tracing.batch_span("archive", messages):  # type: ignore[arg-type]
        pass
    (span,) = spans.get_finished_spans()
    linked = [trace.format_trace_id(link.context.trace_id) for link in span.links]
    assert linked == [SENDER[3:35], other[3:35]]
    assert trace.format_trace_id(span.context.trace_id) not in linked, "a batch has a trace of its own"


def test_without_a_receiver_there_are_ids_and_nothing_is_recorded() -> None:
    program = (
        "from forewarn.services import tracing\n"
        "tracing.configure_tracing('x')\n"
        "with tracing.request_span('a', {}) as span: print(len(tracing.trace_id()), span.is_recording())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={"PATH": ""}, check=True)
    assert run.stdout.split() == ["32", "False"]

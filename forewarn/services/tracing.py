"""Traces of our own: from a request at a door to the batches, risks, incidents and messages that come of it.

Spans leave the process only where OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) names a receiver;
OTEL_TRACES_SAMPLER and the other variables of the OpenTelemetry SDK hold. Without a receiver nothing is recorded, but
ids are made all the same: they stand in the log lines as `trace_id` and travel on the log as the header `traceparent`
(https://www.w3.org/TR/trace-context/), so that what became of a request can be found.
"""

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

if TYPE_CHECKING:
    from confluent_kafka import Message

HEADER = "traceparent"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_MOST_LINKS = 32  # of a batch to the requests in it
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("forewarn")


def configure_tracing(service: str) -> None:
    """Make ids from now on; export spans as `forewarn-SERVICE` where the environment names a receiver."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    name = os.environ.get("OTEL_SERVICE_NAME") or f"forewarn-{service}"
    resource = Resource.create({"service.name": name, "service.namespace": "forewarn"})
    exported = any(os.environ.get(variable) for variable in _ENDPOINTS)
    sampler = None if exported else ALWAYS_OFF
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    if exported:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
        atexit.register(provider.shutdown)
    trace.set_tracer_provider(provider)


@contextmanager
def request_span(name: str, headers: Mapping[str, str], **attributes: AttributeValue) -> Iterator[Span]:
    """A request that came in: continues the sender's trace where its headers name one."""
    with _span(name, SpanKind.SERVER, _propagator.extract(headers), (), attributes) as span:
        yield span


@contextmanager
def batch_span(name: str, messages: "Sequence[Message]", **attributes: AttributeValue) -> Iterator[Span]:
    """Messages of the log that are worked on together: a trace of its own, linked to those that they came from."""
    links = _links(messages)
    counted = {"messaging.batch.message_count": len(messages), **attributes}
    with _span(name, SpanKind.CONSUMER, Context(), links, counted) as span:
        yield span


@contextmanager
def sending_span(name: str, **attributes: AttributeValue) -> Iterator[Span]:
    """A message that goes out."""
    with _span(name, SpanKind.CLIENT, None, (), attributes) as span:
        yield span


def trace_headers() -> list[tuple[str, bytes]]:
    """Headers of a message on the log that say which trace it belongs to; none outside of a span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return [(HEADER, carrier[HEADER].encode())] if HEADER in carrier else []


def trace_id() -> str:
    """Of the current span, 32 hexadecimal digits; empty outside of one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


@contextmanager
def _span(
    name: str, kind: SpanKind, context: Context | None, links: Sequence[Link], attributes: Mapping[str, AttributeValue]
) -> Iterator[Span]:
    started = _tracer.start_as_current_span(name, context=context, kind=kind, links=links, attributes=attributes)
    with started as span, structlog.contextvars.bound_contextvars(trace_id=trace_id()):
        yield span


def _links(messages: "Sequence[Message]") -> list[Link]:
    """To the traces of the first messages that name one, each once."""
    found: dict[bytes, Link] = {}
    for message in messages[: 8 * _MOST_LINKS]:
        told = _traceparent(message)
        if told is not None and told not in found:
            context = _propagator.extract({HEADER: told.decode(errors="replace")}, Context())
            span = trace.get_current_span(context).get_span_context()
            if span.is_valid:
                found[told] = Link(span)
        if len(found) == _MOST_LINKS:
            break
    return list(found.values())


def _traceparent(message: "Message") -> bytes | None:
    headers: list[tuple[str, Any]] = message.headers() or []
    return next((value for name, value in headers if name == HEADER and isinstance(value, bytes)), None)

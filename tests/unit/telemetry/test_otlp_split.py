"""Requests are cut by entity and by size without losing a record."""

import numpy as np
import pytest
from hypothesis import given, settings
from unit.telemetry.otlp_messages import requests
from unit.telemetry.test_otlp_metrics import rows

from forewarn.telemetry import otlp_split
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics
from forewarn.telemetry.otlp_json import parse_json
from forewarn.telemetry.otlp_logs import decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_split import cut, parse, split_by_entity
from forewarn.telemetry.otlp_traces import decode_spans
from forewarn.telemetry.samples import Series

NOON = 1_767_614_400 * 10**9


def metrics(entity: str, series: int, points: int) -> bytes:
    many = [Series(entity, f"cpu{i}") for i in range(series)]
    return encode_metrics(entity, many, NOON + np.arange(points), np.ones((series, points)))


@settings(max_examples=80, deadline=None)
@given(requests)
def test_each_part_has_one_entity_and_nothing_is_lost(payload: bytes) -> None:
    parts = split_by_entity(payload)
    for entity, part in parts.items():
        assert {s.entity for s in decode_metrics(part).series} <= {entity}
    together = [row for part in parts.values() for row in rows(decode_metrics(part))]
    assert sorted(together) == rows(decode_metrics(payload))


@pytest.mark.parametrize(("series", "points"), [(1, 2000), (500, 1), (20, 100)])
def test_pieces_are_small_and_complete(series: int, points: int) -> None:
    payload = metrics("shop/api", series, points) + metrics("shop/api", 1, 10)
    pieces = list(cut("metrics", payload, 3000))
    assert all(len(piece) <= 3000 for piece in pieces)
    assert sorted(r for p in pieces for r in rows(decode_metrics(p))) == rows(decode_metrics(payload))


def test_logs_are_cut_too() -> None:
    payload = encode_logs("a", [NOON] * 100, ["INFO"] * 100, ["x" * 100] * 100)
    assert sum(len(decode_logs(p)) for p in cut("logs", payload, 2000)) == 100


def test_a_record_that_is_too_large_is_refused() -> None:
    with pytest.raises(TelemetryError, match="one record"):
        list(cut("logs", encode_logs("a", [NOON], ["INFO"], ["x" * 5000]), 2000))


def test_garbage_is_no_request() -> None:
    with pytest.raises(TelemetryError, match="not an OTLP traces request"):
        parse("traces", b"\xff\xff")


def test_json_has_hexadecimal_ids() -> None:
    body = b"""{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c",
      "spanId": "eee19b7ec3c1b174", "parentSpanId": "", "name": "GET", "kind": 2, "status": {"code": 2},
      "startTimeUnixNano": "1767614400000000000", "endTimeUnixNano": "1767614400250000000", "future": 1}]}]}]}"""
    (span,) = decode_spans(parse_json("traces", body).SerializeToString())
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert (span.entity, span.duration_seconds, span.error) == ("unknown", 0.25, True)


@pytest.mark.parametrize(("length", "kept"), [(100, 1), (5000, 0)])
def test_large_resources_are_not_remembered(length: int, kept: int) -> None:
    otlp_split._kept_entity.cache_clear()
    assert len(split_by_entity(metrics("e" * length, 1, 1))) == 1
    assert otlp_split._kept_entity.cache_info().currsize == kept

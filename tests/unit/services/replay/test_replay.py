"""A replay sends every record of a recording, once, in order, at its pace."""

import threading
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from otlp_capture import OtlpCapture, capture_otlp

from forewarn.services.replay.player import Player, Progress
from forewarn.services.replay.timeline import (
    chunk_seconds,
    chunks,
    default_namespace,
    in_namespace,
    shift_to_end_at,
    step_seconds,
)
from forewarn.telemetry.otlp_traces import SpanKind
from forewarn.telemetry.recording import Failure, Limit, Logs, Recording, Spans, utc
from forewarn.telemetry.samples import Kind, SampleBatch, Series
from forewarn.telemetry.sender import OtlpSender

SECOND = 1_000_000_000
START = 1_767_607_200 * SECOND
STEPS = 300


def recording() -> Recording:
    """Five minutes at a sample a second, with a gap, of two entities; a log line every ten seconds; one trace."""
    series = (
        Series("api", "process.memory.usage", unit="By"),
        Series("api", "http.server.request.count", (("http.route", "/"),), Kind.CUMULATIVE, "{request}"),
        Series("db", "postgresql.backends"),
    )
    times = np.repeat(START + SECOND * np.arange(STEPS), 3)
    index = np.tile(np.arange(3, dtype=np.int32), STEPS)
    values = np.random.default_rng(5).normal(size=len(times))
    keep = (index != 2) | (times < START + 100 * SECOND) | (times > START + 200 * SECOND)
    lines = 30
    return Recording(
        name="run 7",
        metrics=SampleBatch(series, index[keep], times[keep], values[keep]),
        logs=Logs(
            ("api", "client"),
            np.arange(lines, dtype=np.int32) % 2,
            START + 10 * SECOND * np.arange(lines),
            ["ERROR"] * lines,
            [f"line {i}" for i in range(lines)],
            ["ab" * 16, ""] * (lines // 2),
            ["cd" * 8, ""] * (lines // 2),
            [],
        ),
        spans=Spans(
            ("client", "api"),
            np.array([0, 1], np.int32),
            START + np.array([SECOND, 2 * SECOND]),
            np.array([0.25, 0.125]),
            np.array([b"ab" * 16] * 2),
            np.array([b"cd" * 8, b"ef" * 8]),
            np.array([b"", b"cd" * 8]),
            np.array(["call", "serve"], object),
            np.array(["client", "server"], object),
            np.array([False, True]),
        ),
        limits=(Limit(series[0], 5e9), Limit(series[1], 7.0)),
        topology=(("client", "api"), ("api", "db")),
        failures=(Failure("api", "memory_exhaustion", utc(START + 250 * SECOND), "db", "postgresql.backends"),),
    )


def replayed(capture: OtlpCapture, speed: float | None, shift_ns: int = 0) -> tuple[Recording, Progress]:
    moved = in_namespace(recording(), "again")
    with OtlpSender(capture.url) as sender:
        return moved, Player(moved, sender, speed, shift_ns).play(threading.Event())


@pytest.mark.parametrize("shift_ns", [0, 86_400 * SECOND + 1])
def test_every_sample_arrives_once_with_its_value_time_kind_and_unit(shift_ns: int) -> None:
    with capture_otlp() as capture:
        moved, progress = replayed(capture, None, shift_ns)
        found = capture.samples()
    sent = moved.metrics
    for number, series in enumerate(sent.series):
        mine = sent.index == number
        assert found[series] == dict(
            zip((sent.times[mine] + shift_ns).tolist(), sent.values[mine].tolist(), strict=True)
        )
    assert progress.done
    assert (progress.samples, progress.log_lines, progress.spans) == (len(sent), 30, 2)
    assert progress.event_ns == moved.span_ns[1] + shift_ns


def test_limits_and_calls_are_told_again_and_again() -> None:
    with capture_otlp() as capture:
        replayed(capture, None)
        found = capture.samples()
    memory = found[Series("again/api", "process.memory.usage.limit", unit="By")]
    assert set(memory.values()) == {5e9} and len(memory) == 5  # once a chunk of a minute, the first at the start
    assert min(memory) == START
    route = (("http.route", "/"),)
    assert found[Series("again/api", "http.server.request.count.limit", route, unit="{request}")]
    for client, server in (("again/client", "again/api"), ("again/api", "again/db")):
        attributes = (("client", client), ("server", server))
        calls = found[Series(client, "traces_service_graph_request_total", attributes, Kind.CUMULATIVE, "{request}")]
        assert list(calls.values()) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_logs_and_spans_arrive_as_they_were() -> None:
    with capture_otlp() as capture:
        replayed(capture, None, shift_ns=SECOND)
        logs, spans = capture.logs(), capture.spans()
    assert sorted(r.body for r in logs) == sorted(f"line {i}" for i in range(30))
    first = next(r for r in logs if r.body == "line 0")
    assert (first.time, first.entity, first.severity) == (START + SECOND, "again/api", "ERROR")
    client, server = sorted(spans, key=lambda s: s.start)
    assert (client.entity, client.kind, client.start) == ("again/client", SpanKind.CLIENT, START + 2 * SECOND)
    assert (server.entity, server.kind, server.error) == ("again/api", SpanKind.SERVER, True)
    assert server.parent_span_id == client.span_id == bytes.fromhex("cd" * 8)
    assert server.duration_seconds == pytest.approx(0.125)
    assert client.parent_span_id == b""


def test_messages_come_in_the_order_of_event_time() -> None:
    with capture_otlp() as capture:
        replayed(capture, None)
        starts = [int(batch.times.min()) for batch in capture.metrics()]
    assert starts == sorted(starts) and len(starts) == 5


def test_it_keeps_the_pace_that_was_asked_for() -> None:
    with capture_otlp() as capture:
        began = time.monotonic()
        _, progress = replayed(capture, 150)
        took = time.monotonic() - began
    assert took > 1.9  # five minutes at 150 times their speed
    assert progress.done


def test_it_stops_when_it_is_told_to() -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with capture_otlp() as capture, OtlpSender(capture.url) as sender:
        progress = Player(recording(), sender, 60).play(stop)
    assert not progress.done and progress.event_ns < START + 200 * SECOND


def test_failures_are_told_when_they_pass_and_never_sent() -> None:
    told: list[tuple[int, Failure]] = []
    with capture_otlp() as capture, OtlpSender(capture.url) as sender:
        player = Player(recording(), sender, None, 0, lambda p, passed: told.extend((p.event_ns, f) for f in passed))
        player.play(threading.Event())
        assert not any(b"memory_exhaustion" in body for _, _, body in capture.requests)
    (at, failure) = told[0]
    assert len(told) == 1 and failure.mode == "memory_exhaustion"
    assert 0 <= at - (START + 250 * SECOND) <= 60 * SECOND


def test_entities_move_into_the_namespace() -> None:
    source = recording()
    assert default_namespace(source) == "run-7"
    assert in_namespace(source, None).entities == ("run-7/api", "run-7/client", "run-7/db")
    twice = in_namespace(in_namespace(source, "one"), None)
    assert twice.entities[0] == "one/api"  # what has a namespace keeps it
    moved = in_namespace(in_namespace(source, "one"), "two")
    assert moved.entities[0] == "two/api" and moved.failures[0].cause_entity == "two/db"
    assert default_namespace(replace(source, meta={"namespace": "shop"})) == "shop"


def test_a_shift_lets_the_recording_end_at_a_time() -> None:
    source = recording()
    end = source.span_ns[1] + int(timedelta(days=30).total_seconds()) * SECOND
    assert source.span_ns[1] + shift_to_end_at(source, end) == end


def test_chunks_are_a_step_at_least_and_a_minute_at_most() -> None:
    assert step_seconds(recording().metrics) == 1.0
    assert [chunk_seconds(1.0, s) for s in (0.5, 1, 20, 600, None)] == [1.0, 1.0, 20.0, 60.0, 60.0]
    assert [chunk_seconds(300.0, s) for s in (1, 20, None)] == [300.0, 300.0, 300.0]
    parts = list(chunks(recording(), 60.0))
    assert [p.metrics.stop for p in parts[:-1]] == [p.metrics.start for p in parts[1:]]
    assert parts[-1].metrics.stop == len(recording().metrics)

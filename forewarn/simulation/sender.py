"""Sends a recording to a gateway in order of event time, at a speed."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from forewarn.simulation.failures import Happening
from forewarn.simulation.logs import write_logs
from forewarn.simulation.recording import NANOSECONDS, Recording
from forewarn.simulation.traces import Tracer
from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics, encode_spans
from forewarn.telemetry.sender import OtlpSender

HISTORY_CHUNK_SECONDS = 6 * 3600.0
HISTORY_TRACE_SECONDS = 600.0
_LONGEST_LIVE_CHUNK_SECONDS = 600.0
_WALL_SECONDS_A_CHUNK = 0.25


@dataclass(frozen=True, slots=True)
class Sent:
    """What has been sent so far. event_time: up to where; new: what happened in the last piece."""

    event_time: datetime
    samples: int = 0
    log_records: int = 0
    spans: int = 0
    messages: int = 0
    behind_seconds: float = 0.0  # wall time by which the sender is late for the speed that was asked for
    new: tuple[Happening, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class Piece:
    """Encoded telemetry of some steps: messages by door, and how much is in them."""

    steps: slice
    metrics: list[bytes]
    logs: list[bytes]
    spans: list[bytes]
    samples: int
    log_records: int
    span_count: int


def live_chunk_seconds(speed: float | None, step_seconds: float) -> float:
    """Event time in one piece of a live stream: a step, or more where steps follow faster than four a second."""
    wanted = _LONGEST_LIVE_CHUNK_SECONDS if speed is None else speed * _WALL_SECONDS_A_CHUNK
    return max(step_seconds, min(wanted, _LONGEST_LIVE_CHUNK_SECONDS))


def pieces(
    recording: Recording,
    chunk_seconds: float,
    trace_seconds: float,
    begin_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[Piece]:
    """Encoded telemetry in order of event time: per piece one metrics message for each entity, then logs, spans.

    trace_seconds: event time between two traces.
    """
    logs = write_logs(recording)
    tracer = Tracer(recording)
    every = max(1, round(trace_seconds / recording.step_seconds))
    step_ns = int(recording.step_seconds * NANOSECONDS)
    for steps in recording.chunks(chunk_seconds, begin_ns, end_ns):
        after_ns = int(recording.times_ns[steps.start]) - step_ns + 1  # a step tells what was since the last one
        until_ns = int(recording.times_ns[steps.stop - 1]) + 1
        tables = [table for one in logs if len((table := one.between(after_ns, until_ns)).times_ns)]
        spans = tracer.spans(steps, every)
        values = [entity.values[:, steps] for entity in recording.entities]
        yield Piece(
            steps=steps,
            metrics=[
                encode_metrics(one.entity, one.series, recording.times_ns[steps], part, one.starts_ns[steps])
                for one, part in zip(recording.entities, values, strict=True)
            ],
            logs=[encode_logs(t.entity, t.times_ns.tolist(), t.severities, t.bodies, t.attributes) for t in tables],
            spans=[
                encode_spans(
                    s.entity,
                    s.trace_ids,
                    s.span_ids,
                    s.parent_span_ids,
                    s.operations,
                    s.kinds,
                    s.start_ns,
                    s.end_ns,
                    s.errors,
                )
                for s in spans
            ],
            samples=sum(int(np.count_nonzero(~np.isnan(part))) for part in values),
            log_records=sum(len(table.times_ns) for table in tables),
            span_count=sum(len(one.span_ids) for one in spans),
        )


def send(
    recording: Recording,
    sender: OtlpSender,
    *,
    speed: float | None,
    chunk_seconds: float,
    trace_seconds: float,
    begin_ns: int | None = None,
    end_ns: int | None = None,
    on_sent: Callable[[Sent], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Sent:
    """Send a part of a recording; returns what was sent when all of it is, or when `stop` is set.

    speed: event seconds per wall second; None: as fast as the gateway takes it. Raises forewarn.telemetry.sender's
    SendError where the gateway does not answer or refuses.
    """
    stop = stop or threading.Event()
    began = time.monotonic()
    first_ns = max(begin_ns or 0, int(recording.times_ns[0]))
    sent = Sent(datetime.fromtimestamp(first_ns / NANOSECONDS, UTC))
    for piece in pieces(recording, chunk_seconds, trace_seconds, begin_ns, end_ns):
        last_ns = int(recording.times_ns[piece.steps.stop - 1])
        ahead = 0.0 if speed is None else (last_ns - first_ns) / NANOSECONDS / speed - (time.monotonic() - began)
        if stop.wait(ahead) if ahead > 0 else stop.is_set():
            break
        _post(piece, sender)
        sent = replace(
            sent,
            event_time=datetime.fromtimestamp(last_ns / NANOSECONDS, UTC),
            samples=sent.samples + piece.samples,
            log_records=sent.log_records + piece.log_records,
            spans=sent.spans + piece.span_count,
            messages=sent.messages + len(piece.metrics) + len(piece.logs) + len(piece.spans),
            behind_seconds=max(0.0, -ahead),
            new=tuple(_happenings(recording, piece.steps)),
        )
        on_sent(sent)
    return sent


def _post(piece: Piece, sender: OtlpSender) -> None:
    for body in piece.metrics:
        sender.send_metrics(body)
    for body in piece.logs:
        sender.send_logs(body)
    for body in piece.spans:
        sender.send_spans(body)


def _happenings(recording: Recording, steps: slice) -> Iterator[Happening]:
    begin, end = steps.start * recording.step_seconds, steps.stop * recording.step_seconds
    return (happening for happening in recording.happenings if begin <= happening.seconds < end)

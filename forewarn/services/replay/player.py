"""Plays a recording against the clock: each chunk is sent when its event time has come."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forewarn.services.replay.messages import Messages
from forewarn.services.replay.timeline import SECOND, chunk_seconds, chunks, step_seconds
from forewarn.telemetry.recording import Failure, Recording
from forewarn.telemetry.sender import OtlpSender

_KNOWN_EVERY_STEPS = 5
_REQUEST_BYTES = 1 << 20


@dataclass(slots=True)
class Progress:
    """How far a replay is; the same object is updated all the time.

    event_ns: shifted event time, everything before it was sent. behind_seconds: how much later than its time the
    last chunk left. Counts are of what the gateway took.
    """

    first_ns: int
    last_ns: int
    event_ns: int
    samples: int = 0
    log_lines: int = 0
    spans: int = 0
    messages: int = 0
    seconds: float = 0.0
    behind_seconds: float = 0.0
    done: bool = False


class Player:
    """Sends a recording (already in its namespace) with `sender`.

    speed: event seconds per second, None for as fast as the gateway takes it. shift_ns: added to event times.
    on_progress: called after each chunk, with the failures of the recording whose time has passed in it.
    """

    def __init__(
        self,
        recording: Recording,
        sender: OtlpSender,
        speed: float | None,
        shift_ns: int = 0,
        on_progress: Callable[[Progress, list[Failure]], None] | None = None,
    ) -> None:
        step = step_seconds(recording.metrics)
        self.chunk_seconds = chunk_seconds(step, speed)
        self._recording, self._sender, self._speed, self._shift = recording, sender, speed, shift_ns
        self._messages = Messages(recording, shift_ns, _KNOWN_EVERY_STEPS * step)
        self._on_progress = on_progress
        first, last = recording.span_ns
        self.progress = Progress(first + shift_ns, last + shift_ns, first + shift_ns)

    def play(self, stop: threading.Event) -> Progress:
        """Send everything, or until `stop` is set. Raises SendError."""
        began = time.monotonic()
        progress, told = self.progress, 0
        failures = sorted(self._recording.failures, key=lambda f: f.first_failure_at)
        for chunk in chunks(self._recording, self.chunk_seconds):
            if self._wait(began, chunk.end + self._shift, stop):
                return progress
            self._send(self._messages.metrics(chunk), self._sender.send_metrics)
            self._send(self._messages.spans(chunk), self._sender.send_spans)
            self._send(self._messages.logs(chunk), self._sender.send_logs)
            progress.samples += chunk.metrics.stop - chunk.metrics.start
            progress.spans += chunk.spans.stop - chunk.spans.start
            progress.log_lines += chunk.logs.stop - chunk.logs.start
            progress.event_ns = min(chunk.end + self._shift, progress.last_ns)
            progress.seconds = time.monotonic() - began
            passed = [f for f in failures[told:] if f.first_failure_at.timestamp() * SECOND < chunk.end]
            told += len(passed)
            self._tell(passed)
        progress.done = True
        self._tell(failures[told:])
        return progress

    def _send(self, messages: Iterable[bytes], send: Callable[[bytes], None]) -> None:
        """Messages of one kind joined are one message of that kind in protobuf; the gateway cuts it by entity."""
        waiting: list[bytes] = []
        for message in messages:
            self.progress.messages += 1
            waiting.append(message)
            if sum(map(len, waiting)) > _REQUEST_BYTES:
                send(b"".join(waiting))
                waiting.clear()
        if waiting:
            send(b"".join(waiting))

    def _wait(self, began: float, due_ns: int, stop: threading.Event) -> bool:
        """Wait until an event time has come; True if the replay is to stop."""
        if self._speed is None:
            return stop.is_set()
        due = began + (min(due_ns, self.progress.last_ns) - self.progress.first_ns) / SECOND / self._speed
        left = due - time.monotonic()
        self.progress.behind_seconds = max(0.0, -left)
        return stop.wait(max(left, 0.0))

    def _tell(self, passed: list[Failure]) -> None:
        if self._on_progress is not None:
            self._on_progress(self.progress, passed)

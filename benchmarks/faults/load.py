"""Numbered load: every request has a number that its samples carry as value, so that each can be found again."""

import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics
from forewarn.telemetry.samples import Series

NAMESPACE = "load"
ENTITIES, SERIES = 3, 25  # of a request
SAMPLES = ENTITIES * SERIES
LINES = 5  # of a request with logs
_TIMEOUT_SECONDS = 20.0  # of a request
_PAUSE_SECONDS = 0.2  # before a request is repeated
_RETRYABLE = {429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was answered with 200. attempts: how often it was sent until then; at: monotonic seconds."""

    number: int
    at: float
    attempts: int


@dataclass
class Lane:
    """A sender that sends one request after the other and repeats each until it is accepted, as exporters do."""

    name: str
    path: str
    body: Callable[[int, int], bytes]  # of a number and a time in nanoseconds
    period_seconds: float
    accepted: list[Accepted] = field(default_factory=list)
    refused: int = 0  # answers that say that a repetition will not help: there should be none
    open: tuple[int, int] | None = None  # number and attempts of the one that is not accepted yet
    unavailable_seconds: float = 0.0  # the longest that a request had to be repeated

    def run(self, gateway: Callable[[], str], clock: Callable[[], int], stop: threading.Event) -> None:
        """Until stopped."""
        number, due = 0, time.monotonic()
        connection: HTTPConnection | None = None
        while not stop.is_set():
            body, began, attempts, answered = self.body(number, clock()), time.monotonic(), 0, False
            while not answered and not stop.is_set():
                attempts += 1
                self.open = number, attempts
                connection, answered = self._try(connection, gateway, body)
                if not answered:
                    stop.wait(_PAUSE_SECONDS)
            if answered:
                self.accepted.append(Accepted(number, time.monotonic(), attempts))
                self.open = None
                self.unavailable_seconds = max(self.unavailable_seconds, time.monotonic() - began)
            number += 1
            due = max(due + self.period_seconds, time.monotonic() - 1)  # what a pause left out is not made up for
            stop.wait(max(0.0, due - time.monotonic()))

    def _try(
        self, connection: HTTPConnection | None, gateway: Callable[[], str], body: bytes
    ) -> tuple[HTTPConnection | None, bool]:
        try:
            if connection is None:
                connection = HTTPConnection(urllib.parse.urlsplit(gateway()).netloc, timeout=_TIMEOUT_SECONDS)
            connection.request("POST", self.path, body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            if connection is not None:
                connection.close()
            return None, False
        if answer.status == 200:
            return connection, True
        self.refused += answer.status not in _RETRYABLE
        return connection, False


class Load:
    """Lanes of metrics and one of logs, each a thread. skew_seconds: what their clocks are ahead of ours."""

    def __init__(self, gateway: Callable[[], str], samples_a_second: float, lanes: int = 8) -> None:
        period = lanes * SAMPLES / samples_a_second
        self.metrics = [Lane(f"{i:02d}", "/v1/metrics", _metrics(f"{i:02d}"), period) for i in range(lanes)]
        self.logs = Lane("logs", "/v1/logs", _lines, 0.25)
        self.skew_seconds = 0.0
        self._gateway, self._stop = gateway, threading.Event()
        self._threads = [
            threading.Thread(target=lane.run, args=(gateway, self._clock, self._stop), daemon=True)
            for lane in (*self.metrics, self.logs)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the requests at hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_SECONDS + 5)

    def accepted_since(self, moment: float) -> int:
        """Of how many lanes a request was accepted that ended after this moment."""
        return sum(bool(lane.accepted) and lane.accepted[-1].at > moment for lane in self.metrics)

    def _clock(self) -> int:
        return time.time_ns() + int(self.skew_seconds * 1e9)


def entities_of(lane: str) -> list[str]:
    """They have different keys, so that a request is cut into messages of several partitions."""
    return [f"{NAMESPACE}/lane-{lane}-{i}" for i in range(ENTITIES)]


def _metrics(lane: str) -> Callable[[int, int], bytes]:
    series = {
        e: tuple(Series(e, "chaos.sequence", (("n", f"{i:02d}"),)) for i in range(SERIES)) for e in entities_of(lane)
    }

    def body(number: int, at: int) -> bytes:
        times: NDArray[np.int64] = np.array([at])
        values = np.full((SERIES, 1), float(number))
        return b"".join(encode_metrics(entity, of, times, values) for entity, of in series.items())

    return body


def _lines(number: int, at: int) -> bytes:
    bodies = [f"request {number} line {i} was served" for i in range(LINES)]
    return encode_logs(f"{NAMESPACE}/lines", [at] * LINES, ["INFO"] * LINES, bodies)

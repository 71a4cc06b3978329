"""A shop whose releases double the memory per request, and its stream, which runs on whatever happens to the models."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg

from forewarn.simulation import schedule
from forewarn.simulation.recording import Recording
from forewarn.simulation.scenarios import SCENARIOS, Injection, draw
from forewarn.simulation.schedule import Release
from forewarn.simulation.sender import HISTORY_CHUNK_SECONDS, HISTORY_TRACE_SECONDS, Sent, live_chunk_seconds, send
from forewarn.simulation.simulate import simulate
from forewarn.simulation.topology import SERVICES
from forewarn.telemetry.sender import OtlpSender

NAMESPACE = "shop"
STEP_SECONDS = 60.0
_DAY, _HOUR = 86_400.0, 3600.0
_SLOT = 12 * _HOUR  # an incident each: an accelerated clock cannot wait a week for them
_RELEASED = SERVICES  # what all of them are built on was released
_CLOCK = "select at from watermarks where namespace = %s"


@dataclass(frozen=True)
class World:
    """Days before the release, days after it, and how much more memory a request then needs."""

    history_days: float = 8.0
    live_days: float = 40.0
    memory_per_request: float = 2.0
    seed: int = 7

    def record(self) -> Recording:
        """All of it; event time ends now."""
        end = datetime.fromtimestamp(time.time() // 60 * 60, UTC)
        start = end - timedelta(days=self.history_days + self.live_days)
        at = self.history_days * _DAY
        releases = [Release(name, at + n * _HOUR / 4, self.memory_per_request) for n, name in enumerate(_RELEASED)]
        injections = schedule.history(self.history_days, self.seed) + self._incidents(at)
        hours = 24 * (self.history_days + self.live_days)
        return simulate(start, hours, STEP_SECONDS, self.seed, injections, NAMESPACE, releases=releases)

    def live_ns(self, recording: Recording) -> int:
        """Where the live stream begins."""
        return int(recording.times_ns[0] + self.history_days * _DAY * 1e9)

    def _incidents(self, begin: float) -> list[Injection]:
        """One in every slot, scenarios in turn."""
        rng = np.random.default_rng([self.seed, 17])
        out = []
        for k in range(int(self.live_days * _DAY // _SLOT)):
            onset, lasts = begin + k * _SLOT + rng.uniform(0.2, 1.5) * _HOUR, rng.uniform(2.0, 6.0) * _HOUR
            out.append(
                draw(SCENARIOS[k % len(SCENARIOS)], float(onset), float(lasts), rng, variant=k // len(SCENARIOS))
            )
        return out


@dataclass
class Stream:
    """Sends the live part in a thread of its own at `speed` event seconds a second; nobody pauses it."""

    recording: Recording
    gateway: str
    token: str | None
    begin_ns: int
    speed: float
    sent: Sent | None = None
    error: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop after the message that is on its way. Raises what ended the thread."""
        self._stop.set()
        self._thread.join(120)
        if self.error is not None:
            raise self.error

    @property
    def over(self) -> bool:
        """Whether all of it was sent, or an error ended it."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with OtlpSender(self.gateway, self.token, patience_seconds=120) as sender:
                send(
                    self.recording, sender, speed=self.speed,
                    chunk_seconds=live_chunk_seconds(self.speed, STEP_SECONDS), trace_seconds=600.0,
                    begin_ns=self.begin_ns, on_sent=self._keep, stop=self._stop,
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - told by `end`
            self.error = error

    def _keep(self, sent: Sent) -> None:
        self.sent = sent


def send_history(recording: Recording, gateway: str, token: str | None, end_ns: int) -> Sent:
    """Everything before the release, as fast as the gateway takes it."""
    with OtlpSender(gateway, token, patience_seconds=120) as sender:
        return send(
            recording, sender, speed=None, chunk_seconds=HISTORY_CHUNK_SECONDS, trace_seconds=HISTORY_TRACE_SECONDS,
            end_ns=end_ns,
        )  # fmt: skip


class Clock:
    """Watches the event clock of the predictor: the longest wall time in which it stood still, and how far it lies
    behind what was sent."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        self.stream: Stream | None = None
        self.behind: list[float] = []  # event seconds between the newest sample sent and what is scored
        self._stop = threading.Event()
        self.seen: list[tuple[float, datetime]] = []  # wall time and event time of each advance
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    @property
    def now(self) -> datetime | None:
        """Event time up to which all is scored."""
        return self.seen[-1][1] if self.seen else None

    def end(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(10)

    def longest_standstill(self) -> float:
        """Wall seconds between two advances."""
        walls = [wall for wall, _ in self.seen]
        return float(np.max(np.diff(walls))) if len(walls) > 1 else float("inf")

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(0.25):
                row = connection.execute(_CLOCK, (NAMESPACE,)).fetchone()
                if row and (not self.seen or row[0] > self.seen[-1][1]):
                    self.seen.append((time.monotonic(), row[0]))
                sent = self.stream.sent if self.stream else None
                if sent and self.seen:
                    self.behind.append((sent.event_time - self.seen[-1][1]).total_seconds())

"""Steady load for hours: every series of a fleet is scraped in turn, some of them run towards their limit and back."""

import threading
import time

import numpy as np

from benchmarks.streaming.fleet import Fleet, Template
from forewarn.telemetry.sender import OtlpSender

NAMESPACE = "soak"
SERIES = 50  # of an entity
SCRAPE_SECONDS = 10.0
_TICKS = 50  # requests in a scrape interval: the load is even
_FAILING_EVERY = 100  # entities: one of so many runs towards its limit
_FAILING_SECONDS = 3600.0  # from half of its limit to over it


class Load(threading.Thread):
    """Sends `entities` x 50 samples every 10 s to a gateway until `end()`; `accepted` counts acknowledged samples."""

    def __init__(self, gateway: str, entities: int, token: str | None = None) -> None:
        super().__init__(name="load", daemon=True)
        self.accepted = 0
        self.late_seconds = 0.0  # the longest that a request was behind its time
        self.error: Exception | None = None
        self._fleet = Fleet(entities, NAMESPACE)
        self._templates = [Template(name) for name in self._fleet.names]
        self._sender = OtlpSender(gateway, token, patience_seconds=120)
        self._ending = threading.Event()

    def run(self) -> None:
        try:
            with self._sender:
                self._send()
        except Exception as error:  # noqa: BLE001 - shown by whoever waits for the load
            self.error = error

    def end(self) -> None:
        """Stop after the request that is under way."""
        self._ending.set()
        self.join(150)

    def burst(self, scrapes: int, before: float) -> int:
        """Send `scrapes` of everybody as fast as they are taken, the last at `before` (Unix seconds); samples sent."""
        rng = np.random.default_rng(0)
        for i in range(scrapes):
            at = before - (scrapes - i) * SCRAPE_SECONDS
            for group in np.array_split(np.arange(len(self._templates)), max(1, len(self._templates) // 20)):
                self._request(group, at, rng)
        return scrapes * len(self._templates) * SERIES

    def _send(self) -> None:
        rng = np.random.default_rng(1)
        groups = np.array_split(np.arange(len(self._templates)), _TICKS)
        started, tick = time.time(), 0
        while not self._ending.is_set():
            at = started + tick * SCRAPE_SECONDS / _TICKS
            self._ending.wait(max(0.0, at - time.time()))
            self.late_seconds = max(self.late_seconds, time.time() - at)
            self._request(groups[tick % _TICKS], at, rng)
            tick += 1

    def _request(self, group: np.ndarray, at: float, rng: np.random.Generator) -> None:
        """One request of several entities: requests of OTLP, one after the other, are one request."""
        times = np.array([int(at * 1e9)])
        parts = []
        for i in group:
            values = self._fleet.values(rng, times)
            if i % _FAILING_EVERY == 0:
                values[0] = 50 + 55 * ((at + 37 * i) % _FAILING_SECONDS) / _FAILING_SECONDS
            parts.append(self._templates[i].messages(times[:, None], values.T[:, :, None])[0])
        if parts:
            self._sender.send_metrics(b"".join(parts))
            self.accepted += len(parts) * SERIES

"""How long the event loop keeps readers waiting: a call that is due every 50 ms, and how much later it comes."""

from collections import deque

import numpy as np
from tornado.ioloop import IOLoop

EVERY_SECONDS = 0.05
KEPT = 1200  # calls: a minute


class LoopLag:
    """Measures a loop from `start` on. Everything of the dashboard that readers see goes through this one loop."""

    def __init__(self, loop: IOLoop) -> None:
        self._loop = loop
        self._late: deque[float] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Measure as long as the loop runs; call it from the loop."""
        self._next(self._loop.time())

    def _next(self, now: float) -> None:
        due = now + EVERY_SECONDS
        self._loop.call_at(due, self._called, due)

    def _called(self, due: float) -> None:
        now = self._loop.time()
        self._late.append(now - due)
        self._next(now)

    def quantile(self, share: float) -> float:
        """Seconds; `share` of the calls of the last minute came so late at most. 0 before the first."""
        return float(np.quantile(self._late, share)) if self._late else 0.0

"""How much a sender may send: a token bucket of requests and one of bytes for each token or address."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from forewarn.services.gateway.answers import Refused

_BURST_SECONDS = 5.0  # a sender that was silent may send so much at once
_MAX_SENDERS = 20_000  # those that were silent longest are forgotten: their buckets are full anyway
_LONGEST_WAIT_SECONDS = 60


class RateLimit:
    """Rates per second; 0: no limit. Used in the event loop only.

    Bytes are charged when they have come, and a sender waits until they are paid for: one large body passes, the next
    one does not.
    """

    def __init__(self, requests: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = (requests, size)
        self._clock = clock
        self._senders: OrderedDict[str, tuple[float, list[float]]] = OrderedDict()

    def admit(self, sender: str) -> None:
        """Count a request. Raises Refused(429) with the seconds to wait; what is refused costs nothing."""
        if not any(self._rates):
            return
        left = self._left(sender)
        debts = (1.0 - left[0], -left[1])
        wait = max(debt / rate if rate else 0.0 for debt, rate in zip(debts, self._rates, strict=True))
        if wait > 0:
            seconds = min(math.ceil(wait), _LONGEST_WAIT_SECONDS)
            reason = f"more than {self._told()} a second: wait {seconds} s (FOREWARN_GATEWAY_RATE_REQUESTS, …_BYTES)"
            raise Refused(429, reason, seconds)
        left[0] -= 1.0

    def charge(self, sender: str, size: int) -> None:
        """Count the bytes of a body."""
        if self._rates[1]:
            self._left(sender)[1] -= size

    def _left(self, sender: str) -> list[float]:
        now = self._clock()
        most = [max(rate * _BURST_SECONDS, 1.0) for rate in self._rates]
        then, left = self._senders.pop(sender, (now, most))
        left = [min(have + rate * (now - then), top) for have, rate, top in zip(left, self._rates, most, strict=True)]
        self._senders[sender] = (now, left)
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)
        return left

    def _told(self) -> str:
        names = ((self._rates[0], "requests"), (self._rates[1], "bytes"))
        return " or ".join(f"{rate:g} {name}" for rate, name in names if rate)

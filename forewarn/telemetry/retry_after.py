"""Waiting as a busy HTTP server asks for: its `Retry-After`, else a back-off."""

from collections.abc import Callable

import httpx
from tenacity import RetryCallState
from tenacity.wait import wait_base


class BusyError(Exception):
    """The server asks to be called again later, after so many seconds where it says so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def wait_as_asked(backoff: wait_base) -> Callable[[RetryCallState], float]:
    """How long tenacity waits: what a BusyError says, else the back-off."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, BusyError) and error.retry_after is not None:
            return error.retry_after
        return backoff(state)

    return wait


def retry_after(response: httpx.Response, longest_seconds: float) -> float | None:
    """Seconds of `Retry-After`, at most so many; its other form, a date, is left to the back-off."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), longest_seconds)

"""Calls a webhook: signed, with an identity of its own; tried again only where it was surely not taken."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from forewarn.alerting.responses.plan import Plan, resolved
from forewarn.alerting.webhook import signature
from forewarn.services.alerter.responding.ended import Ended, Kept, clean
from forewarn.telemetry.retry_after import BusyError, retry_after, wait_as_asked

LONGEST_ANSWER = 65_536
_REFUSED = (425, 429, 503)  # nothing was done: these say so
_PATIENCE_SECONDS = 30.0


class _NotTakenError(BusyError):
    """It was surely not acted upon."""

    def __init__(self, reason: str, retry_after: float | None = None, output: str = "") -> None:
        super().__init__(reason, retry_after)
        self.output = output


def call(plan: Plan, secrets: Mapping[str, str], run_id: str, stop: threading.Event) -> Ended:
    """Send it until it is taken or refused. A request that was sent and not answered may have been acted upon: unknown.

    run_id: sent as Idempotency-Key, the same at each attempt.
    """
    body = plan["body"].encode()
    headers = {"Content-Type": "application/json", "User-Agent": "forewarn", "Idempotency-Key": run_id}
    headers |= {name: resolved(value, secrets) for name, value in plan["headers"].items()}
    attempts = Retrying(
        retry=retry_if_exception_type(_NotTakenError), reraise=True, sleep=sleep_using_event(stop),
        wait=wait_as_asked(wait_random_exponential(multiplier=0.5, max=10)),
        stop=stop_after_attempt(plan["attempts"]) | stop_when_event_set(stop),
    )  # fmt: skip
    try:
        with httpx.Client(timeout=plan["timeout_seconds"], follow_redirects=False) as client:
            return attempts(_send, client, plan, headers, body, secrets)
    except _NotTakenError as error:
        return Ended("failed", str(error), error.output)


def _send(client: httpx.Client, plan: Plan, headers: dict[str, str], body: bytes, secrets: Mapping[str, str]) -> Ended:
    if plan["sign"]:
        headers = headers | {"X-Forewarn-Signature": signature(secrets[plan["sign"]], body, int(time.time()))}
    kept = Kept()
    try:
        with client.stream(plan["method"], plan["url"], content=body, headers=headers) as answer:
            _read(answer, kept, time.monotonic() + plan["timeout_seconds"])
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise _NotTakenError(f"it was not reached: {_said(error, secrets)}") from None
    except httpx.HTTPError as error:
        why = f"it was sent, and no answer came: {_said(error, secrets)}; look whether it was done"
        return Ended("unknown", why, kept.text(secrets.values()))
    said, output = f"HTTP {answer.status_code}", kept.text(secrets.values())
    if answer.status_code in _REFUSED:
        raise _NotTakenError(said, retry_after(answer, _PATIENCE_SECONDS), output)
    return Ended("succeeded" if answer.is_success else "failed", said, output)


def _read(answer: httpx.Response, kept: Kept, deadline: float) -> None:
    """As much of the answer as is kept; the status has come already, so what is slow or long is left."""
    total = 0
    with suppress(httpx.HTTPError):
        for piece in answer.iter_bytes():
            kept.add(piece)
            total += len(piece)
            if total > LONGEST_ANSWER or time.monotonic() > deadline:
                return


def _said(error: Exception, secrets: Mapping[str, str]) -> str:
    return clean(f"{type(error).__name__}: {error}", secrets.values())[:300]

"""Doors for what people answer inside the channels: buttons pressed in Slack, acknowledgements of PagerDuty.

What is signed is believed, nothing else. An answer goes where one by link goes: see answer_records.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import TypeVar

import anyio
import anyio.to_thread
import psycopg
import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from forewarn.alerting import slack_answers
from forewarn.alerting.pagerduty_answers import Acknowledgement, read_event
from forewarn.alerting.signatures import secrets_of, signed_by_pagerduty, signed_by_slack
from forewarn.alerting.slack_answers import Press, read_press
from forewarn.alerting.slack_blocks import escaped
from forewarn.config.settings import Settings
from forewarn.services.gateway.answer_records import acknowledge, answer_database, record
from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.body import read_small_body
from forewarn.services.gateway.meters import Meters
from forewarn.services.gateway.rate_limit import RateLimit

SLACK, PAGERDUTY = "slack", "pagerduty"  # their names in what is counted
MAX_BODY_BYTES = 2**20  # Slack sends the whole message again
_ANSWER_SECONDS = 2.5  # Slack waits for three, PagerDuty for five
_WORKERS = 8  # of their own, so that telemetry never waits for a slow database or Slack
_RETRY_AFTER_SECONDS = 5
_DONE = {"acknowledged": "Acknowledged", "confirmed": "Confirmed", "dismissed": "Dismissed as a false alarm"}
_T = TypeVar("_T")
logger = structlog.get_logger("forewarn.services.gateway")


class ChannelDoors:
    """`/v1/answers/slack` and `/v1/answers/pagerduty`; each is closed until its secret is set."""

    def __init__(self, settings: Settings, meters: Meters, rate: RateLimit, patience: float = _ANSWER_SECONDS) -> None:
        """patience: seconds that an answer may take to be stored."""
        self._slack = secrets_of(settings.slack_signing_secret)
        signed_by_slack(self._slack, b"", {})  # the library is read now: the first press does not wait for that
        self._pagerduty = secrets_of(settings.pagerduty_webhook_secret)
        self._slack_url = settings.slack_url
        self._patience = patience
        limits = {"connect_timeout": math.ceil(patience), "options": f"-c statement_timeout={math.ceil(patience)}s"}
        self._url = answer_database(settings, **limits)
        self._meters, self._rate = meters, rate

    def routes(self) -> list[Route]:
        """For an application of Starlette."""
        return [
            Route("/v1/answers/slack", self._door(SLACK, self._from_slack), methods=["POST"]),
            Route("/v1/answers/pagerduty", self._door(PAGERDUTY, self._from_pagerduty), methods=["POST"]),
        ]

    @cached_property
    def _workers(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(_WORKERS)

    def _door(
        self, name: str, take: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def door(request: Request) -> Response:
            started = time.perf_counter()
            try:
                self._rate.admit(f"{name} {request.client.host if request.client else ''}")
                response = await take(request)
            except Refused as refusal:
                headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
                response = JSONResponse({"error": refusal.reason}, refusal.status, headers)
            self._meters.answered(name, response.status_code, time.perf_counter() - started)
            return response

        return door

    async def _from_slack(self, request: Request) -> Response:
        """200 within three seconds; Slack shows whoever pressed that it failed for anything else."""
        if not self._slack:
            raise Refused(404, "buttons of Slack do not answer here: set FOREWARN_SLACK_SIGNING_SECRET")
        body = await read_small_body(request, MAX_BODY_BYTES)
        if not signed_by_slack(self._slack, body, request.headers):
            raise Refused(403, "the signature is not of FOREWARN_SLACK_SIGNING_SECRET, or is older than five minutes")
        press = _read(read_press, body)
        if press is None:
            self._meters.dropped(SLACK, "no answer", 1)
            return Response()
        said = await self._working(partial(self._pressed, press))
        return Response(background=BackgroundTask(self._reply, press, said))

    async def _from_pagerduty(self, request: Request) -> Response:
        """202, also for what is nothing to us, so that PagerDuty goes on sending."""
        if not self._pagerduty:
            raise Refused(404, "webhooks of PagerDuty are not taken: set FOREWARN_PAGERDUTY_WEBHOOK_SECRET")
        body = await read_small_body(request, MAX_BODY_BYTES)
        if not signed_by_pagerduty(self._pagerduty, body, request.headers.get("x-pagerduty-signature", "")):
            raise Refused(403, "no signature is of FOREWARN_PAGERDUTY_WEBHOOK_SECRET")
        said = _read(read_event, body)
        why_not = said if isinstance(said, str) else await self._working(partial(self._acknowledged, said))
        if why_not:
            self._meters.dropped(PAGERDUTY, why_not, 1)
        return JSONResponse({"ignored": why_not} if why_not else {}, 202)

    async def _working(self, work: Callable[[], str]) -> str:
        """Do it in a thread, for as long as who asks waits. Raises Refused."""
        try:
            async with asyncio.timeout(self._patience):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._workers)
        except (TimeoutError, psycopg.Error) as error:
            logger.warning("an answer was not recorded: the database does not answer", error=str(error).strip())
            raise Refused(503, "the database does not answer; try again in a minute", _RETRY_AFTER_SECONDS) from error

    def _pressed(self, press: Press) -> str:
        """What to tell whoever pressed."""
        with psycopg.connect(self._url) as connection:
            incident, new = record(connection, press.incident_id, press.answer_id, press.verdict, press.author)
        if incident is None:
            self._meters.dropped(SLACK, "unknown incident", 1)
            return "This incident is not known any more; nothing was recorded."
        logger.info("answered in Slack", incident=incident.incident_id, verdict=press.verdict, author=press.author)
        return (
            f"{_DONE[press.verdict]}: {escaped(incident.title)}" if new else "This answer was taken before; it holds."
        )

    def _acknowledged(self, said: Acknowledgement) -> str:
        """Why nothing was done, '' where something was."""
        if not _is_ours(said.key):
            return "unknown incident"
        with psycopg.connect(self._url) as connection:
            known = acknowledge(connection, said)
        if known:
            logger.info("acknowledged in PagerDuty", key=said.key, author=said.author)
        return "" if known else "unknown incident"

    async def _reply(self, press: Press, text: str) -> None:
        """To whoever pressed alone; what all see comes with the alerter's next message."""
        if not slack_answers.replies_to(press.response_url, self._slack_url):
            return
        try:
            await anyio.to_thread.run_sync(_say, press.response_url, text, limiter=self._workers)
        except Exception as error:  # noqa: BLE001  the answer is recorded; the library raises what its sockets do
            logger.warning("Slack did not take a reply", error=type(error).__name__)


def _say(response_url: str, text: str) -> None:
    from slack_sdk.webhook import WebhookClient

    from forewarn.alerting.slack import quiet

    client = WebhookClient(response_url, timeout=3, logger=quiet)
    client.send(text=text, response_type="ephemeral", replace_original=False)


def _read(reader: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return reader(body)
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _is_ours(key: str) -> bool:
    """Keys that we give are UUIDs as they are written."""
    try:
        return str(uuid.UUID(key)) == key
    except ValueError:
        return False

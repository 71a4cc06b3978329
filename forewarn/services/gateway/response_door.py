"""`/v1/responses`: what waits for an approval, approved or declined by who has a token with the scope `act`."""

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from forewarn.config.settings import Settings
from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.body import read_small_body
from forewarn.services.token_cache import TokenCache
from forewarn.stores.responses import LONGEST_NOTE, NotPending, PostgresResponses, StoredResponse

SCOPE = "act"
MAX_BODY_BYTES = 8192
_RETRY_AFTER_SECONDS = 5
_HEADERS = {"Cache-Control": "no-store"}
Work = Callable[[PostgresResponses, str, str], Any]  # the responses, who asks, the note


class ResponseDoor:
    """Closed without a token, also on loopback: who opens it may make things happen."""

    def __init__(self, settings: Settings, tokens: TokenCache | None) -> None:
        self._url = psycopg.conninfo.make_conninfo(
            settings.postgres_url.get_secret_value(), connect_timeout=5, application_name="responses door"
        )
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """For an application of Starlette."""
        return [
            Route("/v1/responses", self._list, methods=["GET"]),
            Route("/v1/responses/{response_id:uuid}", self._one, methods=["GET"]),
            Route("/v1/responses/{response_id:uuid}/approve", self._approve, methods=["POST"]),
            Route("/v1/responses/{response_id:uuid}/decline", self._decline, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        return await self._answer(request, lambda stored, who, note: [_plain(row) for row in stored.newest(200)])

    async def _one(self, request: Request) -> Response:
        response_id = str(request.path_params["response_id"])

        def find(stored: PostgresResponses, who: str, note: str) -> Any:
            row = stored.get(response_id)
            if row is None:
                raise LookupError(f"there is no response {response_id}")
            return _plain(row)

        return await self._answer(request, find)

    async def _approve(self, request: Request) -> Response:
        return await self._decided(request, True)

    async def _decline(self, request: Request) -> Response:
        return await self._decided(request, False)

    async def _decided(self, request: Request, yes: bool) -> Response:
        response_id = str(request.path_params["response_id"])
        return await self._answer(request, lambda stored, who, note: _plain(stored.decide(response_id, yes, who, note)))

    async def _answer(self, request: Request, work: Work) -> Response:
        try:
            who = self._who(request.headers.get("authorization", ""))  # of others, the body is not even read
            note = _note(await read_small_body(request, MAX_BODY_BYTES)) if request.method == "POST" else ""
            return JSONResponse(await run_in_threadpool(self._work, work, who, note), headers=_HEADERS)
        except Refused as refusal:
            return _problem(refusal.status, refusal.reason, refusal.retry_after)
        except LookupError as error:
            return _problem(404, str(error))
        except NotPending as error:
            return _problem(409, str(error))
        except psycopg.Error:
            return _problem(503, "the database does not answer; nothing was decided", _RETRY_AFTER_SECONDS)

    def _work(self, work: Work, who: str, note: str) -> Any:
        with psycopg.connect(self._url) as connection:
            return work(PostgresResponses(connection), who, note)

    def _who(self, authorization: str) -> str:
        """The name of the token. Raises Refused."""
        scheme, _, shown = authorization.partition(" ")
        token = shown.strip() if scheme.lower() == "bearer" else ""
        found = self._tokens.find(token) if self._tokens is not None else None
        if found is None and token and (self._tokens is None or not self._tokens.known):
            raise Refused(503, "tokens cannot be looked up yet: PostgreSQL has not answered", _RETRY_AFTER_SECONDS)
        if found is None:
            raise Refused(401, "send 'Authorization: Bearer <token>': `forewarn tokens create --name … --scope act`")
        if not found.allows(SCOPE):
            raise Refused(403, f"this token may {', '.join(found.scopes)}; this door needs {SCOPE}")
        return f"token {found.name}"


def _note(body: bytes) -> str:
    """Of `{"note": "…"}`; no body is no note. Raises Refused."""
    if not body.strip():
        return ""
    try:
        told = msgspec.json.decode(body, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise Refused(400, f'the body is not {{"note": "…"}}: {error}') from None
    text = "".join(c if c.isprintable() else " " for c in told.get("note", ""))
    return " ".join(text.split())[:LONGEST_NOTE]


def _plain(row: StoredResponse) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found


def _problem(status: int, reason: str, retry_after: int | None = None) -> Response:
    headers = dict(_HEADERS)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": reason}, status, headers)

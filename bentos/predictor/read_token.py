"""Asks for a token with the scope `read`, over HTTP and gRPC, where FOREWARN_REQUIRE_READ_TOKEN is set."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import grpc
from starlette.responses import JSONResponse

from bentos.predictor.body_limit import App, Receive, Send
from forewarn.services.token_cache import TokenCache

# what orchestrators and Prometheus ask
_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/metrics"})
_OPEN_SERVICES = "/grpc.health."
_SCOPE = "read"


def refusal(tokens: TokenCache, authorization: str) -> tuple[int, str] | None:
    """HTTP status and reason for who may not read; None for who may."""
    scheme, _, shown = authorization.partition(" ")
    token = tokens.find(shown.strip()) if scheme.lower() == "bearer" else None
    if token is None and not tokens.known:
        return 503, "tokens cannot be looked up yet: PostgreSQL has not answered"
    if token is None:
        return 401, "send 'Authorization: Bearer <token>' (forewarn tokens create --name NAME --scope read)"
    if not token.allows(_SCOPE):
        return 403, f"this token may {', '.join(token.scopes)}; questions need {_SCOPE}"
    return None


class ReadToken:
    """ASGI middleware: 401 without a token, 403 with one of other scopes."""

    def __init__(self, app: App, tokens: TokenCache) -> None:
        self._app, self._tokens = app, tokens

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS:
            return await self._app(scope, receive, send)
        shown = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"authorization"), "")
        if (refused := refusal(self._tokens, shown)) is None:
            return await self._app(scope, receive, send)
        status, reason = refused
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return await JSONResponse({"error": reason}, status, headers)(scope, receive, send)


class ReadTokenInterceptor(grpc.aio.ServerInterceptor):
    """The same over gRPC; the health service stays open."""

    def __init__(self, tokens: TokenCache) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_OPEN_SERVICES):
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        refused = refusal(self._tokens, str(metadata.get("authorization", "")))
        return handler if refused is None else _refusing(handler, *refused)


def _refusing(handler: Any, status: int, reason: str) -> Any:
    codes = {401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}

    async def refuse(request: Any, context: Any) -> None:
        await context.abort(codes.get(status, grpc.StatusCode.UNAVAILABLE), reason)

    async def refuse_stream(request: Any, context: Any) -> Any:
        await context.abort(codes.get(status, grpc.StatusCode.UNAVAILABLE), reason)
        yield None  # not reached: abort raises

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse_stream)
    if handler.request_streaming or handler.response_streaming:
        return None  # there is no such method here: unimplemented
    return grpc.unary_unary_rpc_method_handler(refuse)
